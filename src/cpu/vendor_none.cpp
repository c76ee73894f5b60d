// SPDX-License-Identifier: Apache-2.0
// Stands in where no vendor library was found at build time.
#include "cpu/rows.h"

namespace metalconv::cpu {

std::vector<KernelRow> vendor_rows(const Context&, std::vector<std::string>* notes) {
  notes->push_back("built without oneDNN; install libdnnl-dev and build again");
  return {};
}

}  // namespace metalconv::cpu
