// SPDX-License-Identifier: Apache-2.0
#include "bench/result.h"

namespace metalconv::bench {

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::failed:
      return "failed";
    case Verdict::skipped:
      break;
  }
  return "skipped";
}

}  // namespace metalconv::bench
