// SPDX-License-Identifier: Apache-2.0
#include "gpu/roofs.h"

#include <fmt/format.h>

#include <algorithm>

namespace metalconv::gpu {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::size_t kGroupBytes = std::size_t(kThreads) * 4 * 16;  // four float4s a thread
/// The second is most of an H100's 50 MiB of cache: a problem of 36 MB ran at 1.25 times the rate
/// of 64 MiB.
constexpr std::size_t kWorkingSets[] = {16u << 20, 36u << 20, 64u << 20, 256u << 20};
/// Small working sets are swept until this many bytes have gone by, so that starting does not
/// count.
constexpr double kBytesOfARun = 256u << 20;
constexpr float kNoSum = -1.5f;  // of what the probes leave in memory and in registers

KernelKey key_of(const std::string& probe) {
  return {"roofs.metal", "roof_" + probe, {{"THREADS", std::to_string(kThreads)}}};
}

class ProbeMaker {
 public:
  ProbeMaker(Runtime& runtime, KernelCache& cache) : runtime_(runtime), cache_(cache) {}

  void add_bytes(std::size_t bytes) {
    const std::shared_ptr<Buffer> buffer = runtime_.allocate(bytes);
    const std::vector<std::byte> zeros(bytes);
    buffer->upload(zeros.data(), bytes);
    for (const char* name : {"write", "read", "copy"}) {
      const bool copy = name == std::string_view("copy");  // a group has both halves of its part
      const auto groups = std::uint32_t(bytes / kGroupBytes / (copy ? 2 : 1));
      const int sweeps = int(std::max(1.0, kBytesOfARun / double(bytes)));
      add(name, fmt::format("float4, {} MiB", bytes >> 20), bytes, double(bytes) * sweeps, groups,
          {kNoSum, 0}, sweeps, buffer);
    }
  }

  void add_multiply_add() {
    constexpr std::uint32_t kGroups = 4096;
    constexpr int kRounds = 128;
    constexpr double kWork = 2.0 * 16 * 8 * kRounds * kThreads * kGroups;
    add("fma", "f32, 16 chains", 0, kWork, kGroups, {kNoSum, kRounds}, 1, runtime_.allocate(16));
  }

  std::vector<RoofProbe> take() { return std::move(probes_); }

 private:
  void add(const std::string& name, std::string path, std::size_t working_set, double work,
           std::uint32_t groups, RoofParams params, int launches,
           const std::shared_ptr<Buffer>& buffer) {
    const Kernel& kernel = cache_.get(key_of(name));
    const auto run = [&runtime = runtime_, &kernel, groups, params, launches,
                      buffer](Queue& queue) {
      const Argument arguments[] = {buffer->memory(), constants(params)};
      for (int i = 0; i < launches; ++i)
        runtime.launch(queue, kernel, {{groups}, {kThreads}}, arguments);
    };
    probes_.push_back({name, std::move(path), double(working_set), work, run});
  }

  Runtime& runtime_;
  KernelCache& cache_;
  std::vector<RoofProbe> probes_;
};

}  // namespace

std::vector<KernelKey> roof_keys() {
  return {key_of("write"), key_of("read"), key_of("copy"), key_of("fma")};
}

std::vector<RoofProbe> roof_probes(Runtime& runtime, KernelCache& cache) {
  ProbeMaker maker(runtime, cache);
  maker.add_multiply_add();
  for (const std::size_t bytes : kWorkingSets)
    if (bytes <= runtime.info().memory_bytes / 4) maker.add_bytes(bytes);
  return maker.take();
}

}  // namespace metalconv::gpu
