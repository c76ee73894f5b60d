// SPDX-License-Identifier: Apache-2.0
// The problems and devices that the tests of the CPU share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/registry.h"
#include "metalconv/cpu.h"
#include "metalconv/problem.h"

namespace metalconv::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// Small problems in which any two values of kernel, stride, dilation, padding, groups, channels,
/// image, batch, epilogue and layout meet, and most sets of three. Always the same ones.
const std::vector<ConvProblem>& covering_problems();

/// Every value of the factors above that `problems` has, as "stride 2x1", with how many have it.
std::vector<std::pair<std::string, int>> factor_counts(const std::vector<ConvProblem>& problems);

/// Problems that `row` takes in `layout`, common ones more often than odd ones: for kernels that
/// few of the covering problems suit. Fewer than `count` when it takes next to none.
std::vector<ConvProblem> problems_for(const KernelRow& row, Layout layout, std::size_t count);

/// What is known to break convolutions, in both layouts: kernels over the edge, long lines, sizes
/// next to a vector or a tile, many channels or samples, dilations that reach over the image ...
std::vector<ConvProblem> nasty_problems();

/// A CPU device without vendor libraries, made once for each choice.
/// Many input channels, of which a thread's slot holds a part at a time, as text for parse_problem.
inline constexpr const char* kManyChannels[] = {"1x300x6x6,k5,3x3,p1", "1x96x9x7,k40,3x3,p1",
                                                "1x150x4x9,k20,5x5,p2", "1x1100x5x5,k9,1x1",
                                                "1x200x4x33,k5,5x5,p2"};

Device& cpu_device(const std::string& isa, int threads, std::size_t last_level_cache = 0);
/// What a reproducer needs to make the same device: " --threads 3 --isa avx2".
std::string cpu_flags(const std::string& isa, int threads);

/// Rows that are not a vendor's.
std::vector<const KernelRow*> our_rows(const Device& device);

/// `base` with kernels and roofs of the test's making.
class FakeDevice final : public Device {
 public:
  explicit FakeDevice(Device& base) : base_(base), info_(base.info()) {}
  void add(KernelRow row) { registry_.add(std::move(row)); }

  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(std::size_t bytes) override { return base_.allocate(bytes); }
  std::unique_ptr<Queue> make_queue() override { return base_.make_queue(); }
  const Registry& registry() const override { return registry_; }
  std::vector<RoofProbe> roof_probes() override { return probes; }

  std::vector<RoofProbe> probes;

 private:
  Device& base_;
  DeviceInfo info_;
  Registry registry_;
};

}  // namespace metalconv::test
