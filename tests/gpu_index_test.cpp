// SPDX-License-Identifier: Apache-2.0
// Index arithmetic beyond 31 bits, without the memory: tensors are mapped, not allocated, inputs
// repeat one small file, and of billions of threadgroups the emulator runs a few.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "conv_cases.h"
#include "core/reference.h"
#include "emulator/runtime.h"
#include "gpu/conv.h"
#include "gpu/device.h"
#include "metalconv/error.h"

namespace metalconv::test {
namespace {

using std::int64_t;

const std::size_t kPage = std::size_t(sysconf(_SC_PAGESIZE));

std::vector<float> noise(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = float(random()) * 0x1p-31F - 1;
  return values;
}

/// Addresses, with memory behind those pages alone that are written. Beyond them nothing is mapped.
class Sparse {
 public:
  explicit Sparse(int64_t elements) : bytes_(std::size_t(elements) * sizeof(float)) {
    whole_ = (bytes_ + kPage - 1) / kPage * kPage;
    void* at = mmap(nullptr, whole_ + 2 * kPage, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return;
    start_ = static_cast<std::byte*>(at) + kPage;
    if (mprotect(start_, whole_, PROT_READ | PROT_WRITE) != 0) unmap();
  }
  ~Sparse() { unmap(); }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;

  bool mapped() const { return start_ != nullptr; }
  float* data() const { return reinterpret_cast<float*>(start_); }
  Memory memory() const { return wrap(start_, bytes_); }

  /// The same small file again and again, of a length that no tensor's rows or planes divide: a
  /// number that lost its upper bits finds other values.
  bool repeat_noise() {
    constexpr std::size_t kPages = 1021;
    const std::size_t length = kPages * kPage;
    const std::vector<float> values = noise(int64_t(length / sizeof(float)), 1);
    const int file = memfd_create("noise", 0);
    bool done = file >= 0 && write(file, values.data(), length) == ssize_t(length);
    for (std::size_t at = 0; done && at < whole_; at += length)
      done = mmap(start_ + at, std::min(length, whole_ - at), PROT_READ, MAP_SHARED | MAP_FIXED,
                  file, 0) != MAP_FAILED;
    if (file >= 0) close(file);
    return done;
  }

  /// An element that is not zero.
  struct Element {
    int64_t at;
    double value;
  };
  /// All of them, which are forgotten.
  std::vector<Element> take_written() {
    std::vector<unsigned char> present(whole_ / kPage);
    EXPECT_EQ(mincore(start_, whole_, present.data()), 0);
    std::vector<Element> written;
    const auto per_page = int64_t(kPage / sizeof(float));
    const unsigned char* const end = present.data() + present.size();
    for (const unsigned char* p = present.data();
         (p = std::find_if(p, static_cast<const unsigned char*>(end),
                           [](unsigned char c) { return c & 1; })) != end;
         ++p) {
      const int64_t first = (p - present.data()) * per_page;
      for (int64_t i = first; i < first + per_page; ++i)
        if (data()[i] != 0) written.push_back({i, data()[i]});
    }
    madvise(start_, whole_, MADV_DONTNEED);
    return written;
  }

 private:
  void unmap() {
    if (start_) munmap(start_ - kPage, whole_ + 2 * kPage);
    start_ = nullptr;
  }

  std::size_t bytes_, whole_ = 0;
  std::byte* start_ = nullptr;
};

class GpuIndex : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers keep memory for every address";
    if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
    emulator::Options options;
    options.cache = fmt::format("{}metalconv_gpu_test_{}", testing::TempDir(), getuid());
    options.executor.pick = [this](std::uint64_t groups) { return picked(groups); };
    gpu::DeviceParts parts;
    parts.runtime = emulator::make_runtime(options);
    parts.timed = false;
    device_ = gpu::make_device(std::move(parts));
    queue_ = device_->make_queue();
  }

  std::vector<std::uint64_t> picked(std::uint64_t groups) {
    groups_ = groups;
    if (!only_.empty()) return only_;
    std::vector<std::uint64_t> all(groups);
    for (std::uint64_t i = 0; i < groups; ++i) all[i] = i;
    return all;
  }

  /// Every element of y that was written is what the oracle says.
  static void expect_right(const ConvProblem& p, const KernelRow& row, const Reference& reference,
                           const std::vector<Sparse::Element>& written) {
    const int64_t P = p.P(), Q = p.Q();
    for (const auto& [at, value] : written) {
      const bool nhwc = p.layout == Layout::nhwc;
      const int64_t k = nhwc ? at % p.K : at / Q / P % p.K;
      const int64_t h = nhwc ? at / p.K / Q % P : at / Q % P;
      const int64_t w = nhwc ? at / p.K % Q : at % Q;
      const Expected e = reference.at(at / p.K / P / Q, k, h, w);
      ASSERT_LE(std::fabs(value - e.value), error_bound(row, p, e))
          << row.name << " of " << to_text(p) << ": y[" << at << "] is " << value
          << ", but should be " << e.value;
    }
  }

  std::vector<std::uint64_t> only_;
  std::uint64_t groups_ = 0;  // of the last launch
  std::unique_ptr<Device> device_;
  std::unique_ptr<Queue> queue_;
};

/// x and y beyond 2^31 elements, and more threadgroups than a grid is wide.
TEST_F(GpuIndex, OffsetsOfActivations) {
  std::set<std::string> seen;
  for (const char* text : {"1x4x23200x23200,k36,3x3,p1,bias", "1x4x23200x23200,k4,3x3,p1,g4",
                           "1x16x11600x11600,k16,3x3,p1"}) {
    for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
      ConvProblem p = parse_problem(text);
      p.layout = layout;
      Sparse x(p.x_elements()), y(p.y_elements());
      if (!y.mapped() || !x.mapped() || !x.repeat_noise())
        GTEST_SKIP() << "the addresses of 86 GB cannot be had: " << std::strerror(errno);
      const std::vector<float> w = noise(p.w_elements(), 2), bias = noise(p.K, 3);
      const float* bias_data = p.bias ? bias.data() : nullptr;
      const Reference reference(p, x.data(), w.data(), bias_data);
      for (const KernelRow& row : device_->registry().rows()) {
        // Once a row and layout; and not where one launch reads what another wrote in a workspace.
        if (!row.refusal(p).empty() ||
            !seen.insert(row.name + std::string(to_string(layout))).second)
          continue;
        const Plan plan = make_plan(*device_, p, {row.implementation, row.name});
        if (plan.workspace_bytes() > 0) continue;
        const auto packed = device_->allocate(plan.packed_bytes());
        only_.clear();
        plan.pack(*queue_, w_view(p, wrap(w.data(), w.size() * 4)), packed->memory());
        for (const int part : {0, 1, 3, 5, 7, 8}) {
          only_ = {0};  // to learn how many there are
          const auto run = [&] {
            plan.execute(*queue_, x_view(p, x.memory()), packed->memory(),
                         bias_view(p, wrap(bias_data, p.bias ? bias.size() * 4 : 0)),
                         y_view(p, y.memory()), {});
            return y.take_written();
          };
          if (part == 0) run();
          only_ = {(groups_ - 1) / 8 * std::uint64_t(part)};
          const auto written = run();
          // The last may be one of those that a grid of two dimensions has too many.
          if (part < 8) {
            EXPECT_GE(written.size(), 16u) << row.name << ", threadgroup " << only_[0];
          }
          expect_right(p, row, reference, written);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  for (const char* name :
       {"basic", "direct", "depthwise", "general", "matrix_f32", "winograd_f2", "winograd_f4"})
    for (const char* layout : {"nchw", "nhwc"})
      EXPECT_EQ(seen.count(std::string(name) + layout), 1u) << name << " " << layout;
}

/// Weights beyond 2^31 elements, packed and as they are. A threadgroup reads one block of channels:
/// it alone is packed.
TEST_F(GpuIndex, OffsetsOfWeights) {
  const ConvProblem p = parse_problem("1x130x1x1,k16777216,1x1");
  const gpu::Limits limits;
  Sparse w(p.w_elements()), y(p.y_elements());
  if (!y.mapped() || !w.mapped() || !w.repeat_noise())
    GTEST_SKIP() << "the addresses of 18 GB cannot be had: " << std::strerror(errno);
  const std::vector<float> x = noise(p.x_elements(), 1);
  const Reference reference(p, x.data(), w.data(), nullptr);
  int rows = 0;
  for (const gpu::ConvKernel& kernel : gpu::conv_kernels()) {
    if (kernel.name != "general" && kernel.name != "matrix_f32") continue;
    ++rows;
    const Plan plan = make_plan(*device_, p, {kernel.implementation, kernel.name});
    const PackParams packing = kernel.recipe(p, limits).packing;
    const int64_t block = int64_t(packing.block) * packing.padded_channels * packing.taps;
    Sparse packed(int64_t(plan.packed_bytes() / sizeof(float)));
    ASSERT_TRUE(packed.mapped());
    const int64_t blocks = p.K / packing.block;
    for (const int64_t number : {int64_t(0), blocks / 2, blocks - 1}) {
      only_.clear();
      for (int64_t i = number * block / 128; i <= ((number + 1) * block - 1) / 128; ++i)
        only_.push_back(std::uint64_t(i));
      plan.pack(*queue_, w_view(p, w.memory()), packed.memory());
      only_ = {std::uint64_t(number)};
      plan.execute(*queue_, x_view(p, wrap(x.data(), x.size() * 4)), packed.memory(), {},
                   y_view(p, y.memory()), {});
      const auto written = y.take_written();
      EXPECT_EQ(written.size(), std::size_t(packing.block)) << kernel.name << ", block " << number;
      expect_right(p, plan.row(), reference, written);
      if (HasFatalFailure()) return;
      packed.take_written();
    }
  }
  EXPECT_EQ(rows, 2);
}

}  // namespace
}  // namespace metalconv::test
