// SPDX-License-Identifier: Apache-2.0
#include "metal/chips.h"

#include <fmt/format.h>

#include <algorithm>

namespace metalconv::metal {
namespace {

struct Chip {
  const char* name;  ///< as Metal has it
  int cores;         ///< at most
  double gflops;     ///< of a core in f32: 256 operations a cycle
  double gbytes;     ///< a second, of the memory
};

// Of one name the row of the fewest cores comes first. Clocks of M4 Pro and Max differ by source,
// 1.47 to 1.68 GHz; M5 Pro and Max are taken at the M5's.
constexpr Chip kChips[] = {{"Apple M1", 8, 327, 68},         {"Apple M1 Pro", 16, 332, 200},
                           {"Apple M1 Max", 32, 332, 400},   {"Apple M1 Ultra", 64, 332, 800},
                           {"Apple M2", 10, 358, 102.4},     {"Apple M2 Pro", 19, 358, 204.8},
                           {"Apple M2 Max", 38, 358, 400},   {"Apple M3", 10, 358, 102.4},
                           {"Apple M3 Pro", 18, 358, 153.6}, {"Apple M3 Max", 30, 358, 300},
                           {"Apple M3 Max", 40, 358, 400},   {"Apple M4", 10, 367, 120},
                           {"Apple M4 Pro", 20, 390, 273},   {"Apple M4 Max", 32, 410, 410},
                           {"Apple M4 Max", 40, 410, 546},   {"Apple M5", 10, 404, 153.6},
                           {"Apple M5 Pro", 20, 404, 307},   {"Apple M5 Max", 40, 404, 614}};

/// What others saw of the memory's rate in streaming kernels: 79 % (M5), 87 % (M4), 91 % (M1 Pro).
constexpr double kStreaming = 0.86;

/// Null when it is not in the table.
const Chip* find_chip(const std::string& name, int cores) {
  const Chip* found = nullptr;
  for (const Chip& chip : kChips)
    if (name == chip.name && (!found || found->cores < cores)) found = &chip;
  return found;
}

}  // namespace

ChipRates chip_rates(const std::string& name, int cores) {
  ChipRates chip;
  if (!name.starts_with("Apple ")) {
    chip.basis = "a nominal GPU, which only orders kernels";
    return chip;
  }
  const Chip* known = find_chip(name, cores);
  // Most chips of the table are near these.
  const double gflops = known ? known->gflops : 358;
  const int count = cores > 0 ? cores : known ? known->cores : 8;
  const double gbytes = known ? known->gbytes : 11.0 * count;
  gpu::Rates& r = chip.rates;
  r.flops = gflops * count * 1e9;
  r.bytes = gbytes * kStreaming * 1e9;
  // The ALUs make matrix products, at 102 of their 128 multiply-adds a cycle whatever the type;
  // convolutions by them were seen at 45 to 57 % of the peak. Without them a thread reads 64 bytes
  // of threadgroup memory for the 64 products of its 8 x 8 outputs, and a core, which could make
  // 128 in a cycle, gives 64 bytes: half the peak at most.
  r.matrix = r.matrix_planes = r.matrix_f32 = 0.55;
  r.general = 0.45;
  r.between = 1;  // their caches hold less than what lies between launches
  chip.basis = fmt::format("{:.2f} TFLOP/s and {:.0f} GB/s, published figures of {}, unmeasured",
                           r.flops * 1e-12, r.bytes * 1e-9,
                           known ? fmt::format("{} with {} cores", name, count)
                                 : fmt::format("other Apple GPUs with {} cores", count));
  return chip;
}

}  // namespace metalconv::metal
