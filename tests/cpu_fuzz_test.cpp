// SPDX-License-Identifier: Apache-2.0
// Random problems on every kernel of ours, for METALCONV_FUZZ_SECONDS (5). A failure is made as
// small as it goes and printed with the command that repeats it; METALCONV_FUZZ_SEED repeats a run.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <random>
#include <vector>

#include "bench/verify.h"
#include "conv_cases.h"
#include "metalconv/error.h"

namespace metalconv::test {
namespace {

using std::int64_t;
using Fails = std::function<bool(const ConvProblem&)>;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t seed() { return engine_(); }
  int64_t below(int64_t n) { return int64_t(engine_() % std::uint64_t(n)); }
  bool one_in(int64_t n) { return below(n) == 0; }
  /// From 1 to `most`, small ones more often.
  int64_t size(int64_t most) { return 1 + below(1 + below(most)); }

 private:
  std::mt19937_64 engine_;
};

constexpr double kMostWork = kSanitized ? 2e5 : 1e6;  // multiply-adds

ConvProblem draw(Random& random) {
  ConvProblem p;
  p.groups = random.one_in(3) ? random.size(20) : 1;
  const int64_t most = random.one_in(4) ? 130 : 20;
  p.C = p.groups * (p.groups > 1 && random.one_in(2) ? 1 : random.size(most));
  p.K = p.groups * random.size(p.groups > 1 ? 5 : most);
  p.N = random.one_in(20) ? 0 : random.size(3);
  p.R = random.size(random.one_in(5) ? 12 : 5), p.S = random.one_in(3) ? random.size(12) : p.R;
  const auto often_one = [&](int64_t m) { return random.one_in(3) ? random.size(m) : 1; };
  p.stride_h = often_one(4), p.stride_w = random.one_in(3) ? often_one(4) : p.stride_h;
  p.dilation_h = often_one(4), p.dilation_w = random.one_in(3) ? often_one(4) : p.dilation_h;
  const auto padding = [&](int64_t extent) {
    return random.one_in(3) ? 0 : random.one_in(2) ? extent / 2 : random.below(extent + 3);
  };
  p.pad_top = padding(p.dilation_h * (p.R - 1)), p.pad_left = padding(p.dilation_w * (p.S - 1));
  p.pad_bottom = random.one_in(2) ? p.pad_top : padding(p.dilation_h * (p.R - 1));
  p.pad_right = random.one_in(2) ? p.pad_left : padding(p.dilation_w * (p.S - 1));
  const int64_t longest = random.one_in(8) ? 2000 : 70;
  p.H = random.size(random.one_in(8) ? longest : 40), p.W = random.size(longest);
  p.layout = random.one_in(2) ? Layout::nhwc : Layout::nchw;
  p.bias = random.one_in(2);
  p.activation = Activation(random.below(4));
  if (random.one_in(3)) p.dtype = DType(random.below(3));
  return p;
}

bool is_valid(const ConvProblem& p) {
  try {
    p.validate();
  } catch (const Error&) {
    return false;
  }
  return p.flops() / 2 <= kMostWork;
}

ConvProblem draw_valid(Random& random) {
  for (;;)
    if (const ConvProblem p = draw(random); is_valid(p)) return p;
}

/// The problems one step smaller or plainer.
std::vector<ConvProblem> smaller(const ConvProblem& p) {
  std::vector<ConvProblem> steps;
  const auto add = [&](auto... changes) {
    ConvProblem q = p;
    (changes(q), ...);
    if (q != p && is_valid(q)) steps.push_back(q);
  };
  const auto reduce = [&](int64_t ConvProblem::*field, int64_t least) {
    const int64_t value = p.*field;
    for (const int64_t to : {least, value / 2, value - 1})
      if (to >= least && to < value) add([&](ConvProblem& q) { q.*field = to; });
  };
  add([](ConvProblem& q) { q.bias = false; });
  add([](ConvProblem& q) { q.activation = Activation::none; });
  add([](ConvProblem& q) { q.layout = Layout::nchw; });
  add([](ConvProblem& q) { q.dtype = DType::f32; });
  for (auto field : {&ConvProblem::pad_top, &ConvProblem::pad_left, &ConvProblem::pad_bottom,
                     &ConvProblem::pad_right})
    reduce(field, 0);
  if (p.groups > 1) {
    add([&](ConvProblem& q) { q.C /= p.groups, q.K /= p.groups, q.groups = 1; });
    add([&](ConvProblem& q) {
      q.C = 2 * p.C_per_group(), q.K = 2 * p.K_per_group(), q.groups = 2;
    });
  }
  for (const int64_t part : {p.C_per_group(), int64_t(2)}) {
    if (part < 2) continue;
    add([&](ConvProblem& q) { q.C = p.C / part; });
    add([&](ConvProblem& q) { q.C = p.C - p.groups; });
  }
  add([&](ConvProblem& q) { q.K = p.groups; });
  add([&](ConvProblem& q) { q.K = p.groups * (p.K_per_group() / 2); });
  add([&](ConvProblem& q) { q.K = p.K - p.groups; });
  for (auto field : {&ConvProblem::N, &ConvProblem::H, &ConvProblem::W, &ConvProblem::R,
                     &ConvProblem::S, &ConvProblem::stride_h, &ConvProblem::stride_w,
                     &ConvProblem::dilation_h, &ConvProblem::dilation_w})
    reduce(field, 1);
  return steps;
}

/// Goes on to any smaller problem that fails, too, until there is none.
ConvProblem shrink(ConvProblem problem, const Fails& fails) {
  for (bool found = true; found;) {
    found = false;
    for (const ConvProblem& step : smaller(problem))
      if (fails(step)) {
        problem = step, found = true;
        break;
      }
  }
  return problem;
}

/// Empty when the kernel does `problem` right, or refuses it.
std::string failure(Device& device, const KernelRow& row, const ConvProblem& problem,
                    bench::Checks& checks) {
  if (!row.refusal(problem).empty()) return {};
  try {
    bench::Operands operands(device, problem);
    const auto queue = device.make_queue();
    bench::Subject subject(device, *queue,
                           make_plan(device, problem, {row.implementation, row.name}), operands);
    return bench::verify(subject, checks).failure;
  } catch (const Error& e) {
    return fmt::format("it is not refused, but fails: {}", e.what());
  }
}

std::string failure(Device& device, const KernelRow& row, const ConvProblem& problem) {
  bench::Checks checks(problem);
  return failure(device, row, problem, checks);
}

double setting(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtod(text, nullptr) : otherwise;
}

TEST(Fuzz, RandomProblemsOnEveryKernel) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      Clock::now() + std::chrono::duration<double>(setting("METALCONV_FUZZ_SECONDS", 5));
  const auto seed = std::uint64_t(setting("METALCONV_FUZZ_SEED", double(std::random_device{}())));
  fmt::print("METALCONV_FUZZ_SEED={}\n", seed);
  Random random(seed);
  const auto isas = cpu_isas();
  std::int64_t problems = 0, verified = 0;
  while (Clock::now() < end) {
    const ConvProblem problem = draw_valid(random);
    const std::string& isa = isas[std::size_t(random.below(int64_t(isas.size())))];
    const int threads = int(1 + random.below(4));
    Device& device = cpu_device(isa, threads);
    bench::Checks checks(problem);
    ++problems;
    for (const KernelRow* row : our_rows(device)) {
      verified += row->refusal(problem).empty() ? 1 : 0;
      if (failure(device, *row, problem, checks).empty()) continue;
      const ConvProblem least =
          shrink(problem, [&](const ConvProblem& p) { return !failure(device, *row, p).empty(); });
      ADD_FAILURE() << to_text(least) << ", " << row->name << ": " << failure(device, *row, least)
                    << "\n  found as " << to_text(problem) << "\n  again: "
                    << bench::reproducer(least, device, *row, cpu_flags(isa, threads));
      return;
    }
  }
  fmt::print("{} problems, {} verified executions\n", problems, verified);
  EXPECT_GT(verified, 0);
}

/// Whatever is valid is answered: a cost or a reason, never a crash.
TEST(Fuzz, TheAnswersOfThePlannerToExtremes) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      Clock::now() + std::chrono::duration<double>(setting("METALCONV_FUZZ_SECONDS", 5) / 5);
  const auto seed = std::uint64_t(setting("METALCONV_FUZZ_SEED", double(std::random_device{}())));
  fmt::print("METALCONV_FUZZ_SEED={}\n", seed);
  Random random(seed);
  Device& device = cpu_device(cpu_isas().front(), 2);
  int valid = 0;
  while (Clock::now() < end) {
    const auto any = [&] { return int64_t(1) << random.below(1 + random.below(40)); };
    ConvProblem p;
    p.groups = random.one_in(2) ? 1 : std::min(any(), int64_t(1) << 20);
    p.N = any() - 1;
    p.C = p.groups * any(), p.K = p.groups * any();
    p.H = any(), p.W = any(), p.R = any(), p.S = any();
    p.stride_h = any(), p.stride_w = any(), p.dilation_h = any(), p.dilation_w = any();
    p.pad_top = any() - 1, p.pad_left = any() - 1, p.pad_bottom = any() - 1;
    p.pad_right = any() - 1;
    p.layout = random.one_in(2) ? Layout::nhwc : Layout::nchw;
    try {
      p.validate();
    } catch (const Error&) {
      continue;
    }
    ++valid;
    for (const Candidate& c : explain(device, p)) {
      if (c.refusal.empty()) {
        ASSERT_GE(c.cost, 0) << to_text(p) << " " << c.row->name;
      }
    }
  }
  EXPECT_GT(valid, 0);
}

TEST(Shrink, KeepsWhatMakesItFail) {
  const ConvProblem found =
      parse_problem("3x12x29x31,k24,5x3,s2x3,p3x1x2x0,d2x1,g4,f16,nhwc,bias,relu6");
  const auto least = [&](const Fails& fails) { return to_text(shrink(found, fails)); };
  EXPECT_EQ(least([](const ConvProblem&) { return true; }), "1x1x1x1,k1,1x1,s1,p0,d1,g1,f32,nchw");
  EXPECT_EQ(least([](const ConvProblem& p) { return p.stride_w > 1 && p.layout == Layout::nhwc; }),
            "1x1x1x1,k1,1x1,s1x2,p0,d1,g1,f32,nhwc");
  EXPECT_EQ(least([](const ConvProblem& p) { return p.W >= 17 && p.bias; }),
            "1x1x1x17,k1,1x1,s1,p0,d1,g1,f32,nchw,bias");
  EXPECT_EQ(least([](const ConvProblem& p) { return p.groups > 1 && p.S == 3; }),
            "1x2x1x3,k2,1x3,s1,p0,d1,g2,f32,nchw");
  EXPECT_EQ(least([](const ConvProblem& p) { return p.K_per_group() >= 5 && p.pad_top > 0; }),
            "1x1x1x1,k5,1x1,s1,p1x0x0x0,d1,g1,f32,nchw");
}

}  // namespace
}  // namespace metalconv::test
