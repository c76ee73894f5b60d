// SPDX-License-Identifier: Apache-2.0
#include "cpu/roofs.h"

#include "cpu/isa.h"  // before Highway

#include <hwy/cache_control.h>

#include <memory>

#include "cpu/memory.h"
#include "cpu/rows.h"
#include "cpu/system.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/roofs.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef METALCONV_CPU_ROOFS_ONCE
#define METALCONV_CPU_ROOFS_ONCE
namespace metalconv::cpu {

/// Everything works on whole multiples of 16 vectors; sizes count floats.
struct RoofKernels {
  std::int64_t target;
  void (*write)(float* y, std::size_t n);
  void (*stream)(float* y, std::size_t n);
  float (*read)(const float* x, std::size_t n);
  void (*copy)(const float* x, float* y, std::size_t n);
  float (*multiply_add)(std::size_t rounds);  ///< 24 vectors of multiply-adds a round
  std::size_t lanes;
};

}  // namespace metalconv::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

void Write(float* y, std::size_t n) {
  const D d;
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::Store(hn::Set(d, 1.0f), d, y + i);
}

void Stream(float* y, std::size_t n) {
  const D d;
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::Stream(hn::Set(d, 1.0f), d, y + i);
  hwy::FlushStream();
}

float Read(const float* x, std::size_t n) {
  const D d;
  const std::size_t v = hn::Lanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (std::size_t i = 0; i < n; i += 4 * v) {
    a = hn::Add(a, hn::Load(d, x + i));
    b = hn::Add(b, hn::Load(d, x + i + v));
    c = hn::Add(c, hn::Load(d, x + i + 2 * v));
    e = hn::Add(e, hn::Load(d, x + i + 3 * v));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
}

void Copy(const float* x, float* y, std::size_t n) {
  const D d;
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::Store(hn::Load(d, x + i), d, y + i);
}

/// Twelve chains, enough to hide a latency of 4 to 6 cycles on two units.
float MultiplyAdd(std::size_t rounds) {
  const D d;
  const auto m = hn::Set(d, 0.999f), a = hn::Set(d, 0.001f);
  auto c0 = hn::Iota(d, 0), c1 = hn::Iota(d, 1), c2 = hn::Iota(d, 2), c3 = hn::Iota(d, 3),
       c4 = hn::Iota(d, 4), c5 = hn::Iota(d, 5), c6 = hn::Iota(d, 6), c7 = hn::Iota(d, 7),
       c8 = hn::Iota(d, 8), c9 = hn::Iota(d, 9), ca = hn::Iota(d, 10), cb = hn::Iota(d, 11);
  for (std::size_t i = 0; i < 2 * rounds; ++i) {
    c0 = hn::MulAdd(c0, m, a), c1 = hn::MulAdd(c1, m, a), c2 = hn::MulAdd(c2, m, a);
    c3 = hn::MulAdd(c3, m, a), c4 = hn::MulAdd(c4, m, a), c5 = hn::MulAdd(c5, m, a);
    c6 = hn::MulAdd(c6, m, a), c7 = hn::MulAdd(c7, m, a), c8 = hn::MulAdd(c8, m, a);
    c9 = hn::MulAdd(c9, m, a), ca = hn::MulAdd(ca, m, a), cb = hn::MulAdd(cb, m, a);
  }
  const auto low = hn::Add(hn::Add(hn::Add(c0, c1), hn::Add(c2, c3)), hn::Add(c4, c5));
  const auto high = hn::Add(hn::Add(hn::Add(c6, c7), hn::Add(c8, c9)), hn::Add(ca, cb));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(low, high)));
}

const RoofKernels* roof_table() {
  static const RoofKernels table{HWY_TARGET, Write,       Stream,        Read,
                                 Copy,       MultiplyAdd, hn::Lanes(D())};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu {

HWY_EXPORT(roof_table);

std::string_view isa_name(std::int64_t target) {
  const std::string_view name = hwy::TargetName(target);
  if (name.starts_with("AVX3") || name.starts_with("AVX10")) return "avx512";
  if (name == "AVX2") return "avx2";
  if (name == "SSE4") return "sse4";
  if (name.starts_with("NEON")) return "neon";
  return "scalar";
}

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const RoofKernels* table : runnable(HWY_DISPATCH_TABLE(roof_table)))
    names.emplace_back(isa_name(table->target));
  return names;
}

namespace {

/// Memory that a probe sweeps, each thread its own part.
class Arena {
 public:
  Arena(std::size_t bytes, int parts)
      : floats_(bytes / sizeof(float) / std::size_t(parts) / 1024 * 1024),
        memory_(floats_ * std::size_t(parts) * sizeof(float)) {}

  std::size_t floats() const { return floats_; }  ///< of one part
  float* part(std::int64_t i) const {
    return static_cast<float*>(memory_.data()) + std::size_t(i) * floats_;
  }

 private:
  std::size_t floats_;
  HostMemory memory_;
};

std::string size_name(double bytes) {
  return bytes >= 0x1p20 ? std::to_string(int(bytes / 0x1p20)) + " MiB"
                         : std::to_string(int(bytes / 0x1p10)) + " KiB";
}

class ProbeMaker {
 public:
  ProbeMaker(const Context& context, const RoofKernels& kernels)
      : context_(context), kernels_(kernels) {}

  /// The byte probes over `bytes` in all. `memory`: beyond every cache, swept once; a cache is
  /// swept until 64 MiB have gone by, so that starting threads does not count.
  void add_bytes(double bytes, bool memory) {
    const int threads = context_.threads();
    const auto arena = std::make_shared<Arena>(std::size_t(bytes), threads);
    const std::size_t n = arena->floats();
    const double once = double(n) * sizeof(float) * threads;
    const int sweeps = memory ? 1 : int(std::max(1.0, 0x1p26 / once));
    const RoofKernels& k = kernels_;
    const auto add = [&](const char* name, const std::string& how, double work, auto body) {
      const Context& context = context_;
      probes_.push_back({name, context.isa() + ", " + how + ", " + size_name(once), once,
                         work * sweeps, [&context, arena, sweeps, threads, body](Queue&) {
                           context.parallel_for(threads, [&](std::int64_t i) {
                             for (int s = 0; s < sweeps; ++s) body(arena->part(i));
                           });
                         }});
    };
    // Which kind of store is faster differs between machines: the better one is the roof. Of
    // caches, too: a virtual machine that said it had 480 MiB wrote 360 at 18 GB/s, 45 past the
    // cache.
    add("write", "stores", once, [&k, n](float* p) { k.write(p, n); });
    add("write", "non-temporal stores", once, [&k, n](float* p) { k.stream(p, n); });
    add("read", "loads", once, [&k, n](float* p) { sink = k.read(p, n); });
    add("copy", "loads and stores", once, [&k, n](float* p) { k.copy(p, p + n / 2, n / 2); });
  }

  void add_multiply_add() {
    const int threads = context_.threads();
    const double work = 2.0 * 24 * double(kRounds) * double(kernels_.lanes) * threads;
    probes_.push_back({"fma", context_.isa() + ", 12 chains", 0, work,
                       [&context = context_, &k = kernels_, threads](Queue&) {
                         context.parallel_for(
                             threads, [&](std::int64_t) { sink = k.multiply_add(kRounds); });
                       }});
  }

  std::vector<RoofProbe> take() { return std::move(probes_); }

 private:
  static constexpr std::size_t kRounds = 1 << 19;  // about 5 ms at 3 GHz
  /// Keeps results alive; every thread its own.
  static thread_local volatile float sink;

  const Context& context_;
  const RoofKernels& kernels_;
  std::vector<RoofProbe> probes_;
};

thread_local volatile float ProbeMaker::sink = 0;

}  // namespace

std::vector<RoofProbe> roof_probes(const Context& context) {
  ProbeMaker maker(context, kernels_for(context.isa(), HWY_DISPATCH_TABLE(roof_table)));
  const double l2 = 0.75 * double(context.core_cache()) * context.threads();
  const double last = 0.75 * double(last_level_cache());
  maker.add_multiply_add();
  maker.add_bytes(l2, false);
  if (last > 1.5 * l2) maker.add_bytes(last, false);
  // Beyond four times the cache, or where it is hidden beyond 256 MiB.
  maker.add_bytes(last > 0 ? std::max(4 * last, 0x1p27) : 0x1p28, true);
  return maker.take();
}

}  // namespace metalconv::cpu
#endif
