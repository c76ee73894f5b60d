// SPDX-License-Identifier: Apache-2.0
// Any text is a problem whose own text parses back to it, or an Error.
#include <cstdint>
#include <cstdlib>

#include "metalconv/error.h"
#include "metalconv/problem.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace metalconv;
  try {
    const ConvProblem problem = parse_problem({reinterpret_cast<const char*>(data), size});
    if (parse_problem(to_text(problem)) != problem) std::abort();
    if (problem.x_bytes() < 0 || problem.w_bytes() < 0 || problem.y_bytes() < 0) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
