// SPDX-License-Identifier: Apache-2.0
// The planner and what stands between a caller's memory and a kernel.
#include "metalconv/plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "bench/data.h"
#include "conv_cases.h"
#include "expect_error.h"
#include "metalconv/error.h"

namespace metalconv::test {
namespace {

using std::size_t;
using testing::HasSubstr;

Device& device() { return cpu_device(cpu_isas().front(), 2); }

// ---- registry

TEST(Registry, RefusesTheSameNameTwice) {
  Registry registry;
  KernelRow row;
  row.name = "one";
  registry.add(row);
  expect_error(ErrorCode::invalid_argument, "the kernel one is registered twice as optimized",
               [&] { registry.add(row); });
  row.implementation = Implementation::basic;  // another role, another row
  registry.add(row);
  EXPECT_EQ(registry.find(Implementation::basic, "one"), &registry.rows().back());
  EXPECT_EQ(registry.find(Implementation::optimized, "one"), &registry.rows().front());
  EXPECT_EQ(registry.find(Implementation::vendor, "one"), nullptr);
  EXPECT_EQ(registry.find(Implementation::basic, "two"), nullptr);
}

TEST(Registry, ARowSaysWhyItDoesNotApply) {
  KernelRow row;
  row.dtypes = {DType::f32, DType::f16};
  row.layouts = {Layout::nhwc};
  row.activations = {Activation::none, Activation::relu};
  row.supports = [](const ConvProblem& p) { return p.groups > 1 ? "it has groups" : ""; };
  EXPECT_EQ(row.refusal(parse_problem("1x2x4x4,k2,1x1,nhwc")), "");
  EXPECT_EQ(row.refusal(parse_problem("1x2x4x4,k2,1x1,nhwc,g2")), "it has groups");
  EXPECT_EQ(row.refusal(parse_problem("1x2x4x4,k2,1x1,bf16")),
            "dtype is bf16, the kernel does f32, f16");
  EXPECT_EQ(row.refusal(parse_problem("1x2x4x4,k2,1x1")), "layout is nchw, the kernel does nhwc");
  EXPECT_EQ(row.refusal(parse_problem("1x2x4x4,k2,1x1,nhwc,silu,g2")),
            "activation is silu, the kernel does none, relu");
}

TEST(Registry, RowsOfTheCpuAreComplete) {
  for (const KernelRow& row : device().registry().rows()) {
    EXPECT_FALSE(row.name.empty());
    EXPECT_FALSE(row.summary.empty()) << row.name;
    EXPECT_FALSE(row.dtypes.empty()) << row.name;
    EXPECT_FALSE(row.layouts.empty()) << row.name;
    EXPECT_FALSE(row.activations.empty()) << row.name;
    EXPECT_GT(row.error_bound, 0) << row.name;
    EXPECT_TRUE(row.cost) << row.name;
    EXPECT_TRUE(row.make) << row.name;
  }
}

// ---- planner

TEST(Explain, HasEveryRowInOrderAndChoosesTheCheapest) {
  for (const ConvProblem& p : covering_problems()) {
    const auto candidates = explain(device(), p);
    const auto& rows = device().registry().rows();
    ASSERT_EQ(candidates.size(), rows.size());
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(candidates[i].row, &rows[i]);
    for (const auto role : {Implementation::basic, Implementation::optimized}) {
      const Candidate* chosen = nullptr;
      for (const Candidate& c : candidates)
        if (c.row->implementation == role && c.chosen) {
          EXPECT_EQ(chosen, nullptr) << "two are chosen for " << to_text(p);
          chosen = &c;
        }
      ASSERT_NE(chosen, nullptr) << to_text(p);
      EXPECT_EQ(chosen->refusal, "");
      for (const Candidate& c : candidates)
        if (c.row->implementation == role && c.refusal.empty()) {
          EXPECT_GT(c.cost, 0) << c.row->name << " " << to_text(p);
          EXPECT_LE(chosen->cost, c.cost) << c.row->name << " " << to_text(p);
        }
    }
    if (HasFailure()) return;
  }
}

TEST(Explain, RefusesAnInvalidProblem) {
  ConvProblem p;
  p.stride_h = 0;
  expect_error(ErrorCode::invalid_argument, "stride_h is 0, but must be at least 1",
               [&] { explain(device(), p); });
}

/// Nothing may overflow, crash or loop on the way to an answer.
TEST(Explain, RefusesWhatNoMachineHolds) {
  for (const char* text :
       {"1x1x1073741824x1073741824,k1,3x3,p1", "1x1048576x1048576x1048576,k1,1x1",
        "1x1x1x1,k1152921504606846975,1x1", "1152921504606846975x1x1x1,k1,1x1",
        "1x1x1x1152921504606846975,k1,1x1", "1x1x1152921504606846975x1,k1,1x1",
        "1x1x1x1000000000000000,k1,1x1000000000000000",
        "1x1x1x1,k1,1x2,p0x1000000000000000,d1x1000000000000000",
        "0x65536x65536x65536,k65536,3x3,p1", "1x1x1x1,k1,1x1,p1000000000000000x0"}) {
    for (const Candidate& c : explain(device(), parse_problem(text)))
      EXPECT_THAT(c.refusal, testing::HasSubstr("but none may have more than 2^47")) << text;
  }
  EXPECT_EQ(explain(device(), parse_problem("1x1x1x1,k70368744177664,1x1")).front().refusal,
            "the padded input has 4 bytes, the weights 2.81e+14, the output 2.81e+14, but none may "
            "have more than 2^47");
}

TEST(Explain, AnswersForLargeProblems) {
  for (const char* text :
       {"1x1x1048576x1048576,k1,3x3,p1", "1x1x1x4294967296,k1,1x1", "1x1x4294967296x1,k1,1x1,nhwc",
        "4294967296x1x1x1,k1,1x1", "1x4294967296x1x1,k1,1x1", "1x1x1x1,k4294967296,1x1",
        "1x1073741824x1x1,k1073741824,1x1,g1073741824",
        "1x1x1x1,k1,1x2,p0x4294967295,d1x4294967296", "1x1x8x8,k1,3x3,s9223372036854775807",
        "1x1x65536x65536,k1,65536x65536"}) {
    // Infinite: what takes more memory than a plan may is not chosen.
    bool chosen = false;
    for (const Candidate& c : explain(device(), parse_problem(text)))
      if (c.refusal.empty()) {
        EXPECT_TRUE(c.cost >= 0 && (std::isfinite(c.cost) || !c.chosen))
            << c.row->name << " " << text;
        chosen = chosen || (c.chosen && std::isfinite(c.cost));
      }
    EXPECT_TRUE(chosen) << text;
  }
}

TEST(MakePlan, RunsWhatExplainChose) {
  const ConvProblem p = parse_problem("1x3x20x30,k8,3x3,p1");
  for (const Candidate& c : explain(device(), p)) {
    if (!c.refusal.empty()) continue;
    const Plan named = make_plan(device(), p, {c.row->implementation, c.row->name});
    EXPECT_EQ(named.kernel(), c.row->name);
    EXPECT_EQ(&named.row(), c.row);
    EXPECT_EQ(named.problem(), p);
    EXPECT_FALSE(named.detail().empty());
    EXPECT_GE(named.packed_bytes(), size_t(p.w_bytes())) << c.row->name;
    if (c.chosen) {
      EXPECT_EQ(make_plan(device(), p, {c.row->implementation, ""}).kernel(), c.row->name);
    }
  }
}

/// Of each dtype and layout, maps of 7 to 56 columns.
std::vector<ConvProblem> memory_problems() {
  std::vector<ConvProblem> problems;
  for (const char* shape :
       {"1x3x56x56,k64,7x7,s2,p3", "1x16x56x56,k4,1x3,p0x1", "1x16x7x7,k17,3x3,p1",
        "1x64x56x56,k64,3x3,p1", "1x128x28x28,k128,3x3,p1", "2x256x14x14,k256,3x3,p1",
        "1x512x7x7,k512,3x3,p1", "1x512x17x17,k33,3x3,p2,d2", "1x256x14x14,k64,5x5,p2",
        "1x512x14x14,k64,3x3,s2,p1", "1x1024x1x32,k64,7x7,s2,p6,d2", "1x1024x7x7,k64,1x1",
        "1x512x1x40,k16,1x1,s2", "1x96x14x56,k96,5x5,p2,g96", "1x33x17x56,k33,3x1,p1x0,g33",
        "1x64x9x9,k64,3x3,p1,g4"})
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
      for (const Layout layout : {Layout::nchw, Layout::nhwc}) {
        ConvProblem p = parse_problem(shape);
        p.dtype = dtype, p.layout = layout, p.bias = true;
        problems.push_back(p);
      }
  return problems;
}

TEST(MakePlan, TakesNoMoreWorkspaceThanTheLargerTensor) {
  constexpr std::int64_t kSmall = 64 << 10;  // a thread, of small tensors
  for (const std::string& isa : cpu_isas())
    for (const int threads : {1, 2, 4, 16}) {
      Device& cpu = cpu_device(isa, threads);
      for (const ConvProblem& p : memory_problems()) {
        const Plan plan = make_plan(cpu, p);
        EXPECT_LE(std::int64_t(plan.workspace_bytes()),
                  std::max({p.x_bytes(), p.y_bytes(), kSmall * threads}))
            << to_text(p) << ", " << threads << " threads, " << plan.kernel() << ": "
            << plan.detail();
      }
    }
}

TEST(MakePlan, GivesEachKernelsReason) {
  const ConvProblem p = parse_problem("1x3x8x8,k4,3x3,silu,f16");
  std::string reasons;
  for (const KernelRow& row : device().registry().rows())
    if (row.implementation == Implementation::optimized)
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", row.name, row.refusal(p));
  EXPECT_THAT(reasons, HasSubstr("activation is silu, the kernel does none, relu, relu6"));
  expect_error(
      ErrorCode::unsupported,
      "no optimized kernel on cpu does 1x3x8x8,k4,3x3,s1,p0,d1,g1,f16,nchw,silu: " + reasons,
      [&] { make_plan(device(), p); });
}

TEST(MakePlan, NamesAnUnknownKernel) {
  const ConvProblem p = parse_problem("1x3x8x8,k4,3x3");
  expect_error(ErrorCode::unsupported,
               "no optimized kernel on cpu does 1x3x8x8,k4,3x3,s1,p0,d1,g1,f32,nchw: there is no "
               "kernel 'none-such'",
               [&] {
                 make_plan(device(), p, {Implementation::optimized, "none-such"});
               });
  expect_error(ErrorCode::unsupported,
               "no vendor kernel on cpu does 1x3x8x8,k4,3x3,s1,p0,d1,g1,f32,nchw: there is none",
               [&] {
                 make_plan(device(), p, {Implementation::vendor, ""});
               });
}

TEST(MakePlan, SaysWhenAKernelCannotBePrepared) {
  FakeDevice fake(device());
  KernelRow row;
  row.name = "hungry";
  row.dtypes = {DType::f32};
  row.layouts = {Layout::nchw};
  row.activations = {Activation::none};
  row.cost = [](const ConvProblem&) { return 1.0; };
  row.make = [](const ConvProblem&) -> std::unique_ptr<const PreparedConv> {
    throw std::bad_alloc();
  };
  fake.add(row);
  expect_error(ErrorCode::too_large,
               "the kernel hungry has not the memory to prepare "
               "1x3x8x8,k4,3x3,s1,p0,d1,g1,f32,nchw",
               [&] { make_plan(fake, parse_problem("1x3x8x8,k4,3x3")); });
}

/// Kernels multiply strides; one beyond the input is as good as the input's size.
TEST(MakePlan, KernelsSeeNoStrideBeyondThePaddedInput) {
  FakeDevice fake(device());
  ConvProblem seen;
  KernelRow row = *our_rows(device()).front();
  row.make = [&, make = row.make](const ConvProblem& p) { return seen = p, make(p); };
  fake.add(row);
  const ConvProblem p = parse_problem("1x3x8x9,k4,3x3,p1x2,s9223372036854775807x3");
  const Plan plan = make_plan(fake, p, {row.implementation, ""});
  EXPECT_EQ(plan.problem(), p);
  EXPECT_EQ(seen, parse_problem("1x3x8x9,k4,3x3,p1x2,s10x3"));
  EXPECT_EQ(std::pair(seen.P(), seen.Q()), std::pair(p.P(), p.Q()));
}

TEST(MakePlan, ANamedKernelSaysItsOwnReasonOnly) {
  for (const KernelRow& row : device().registry().rows()) {
    const ConvProblem p = parse_problem("1x3x8x8,k4,3x3,silu");
    expect_error(ErrorCode::unsupported,
                 fmt::format("no {} kernel on cpu does {}: {}: {}", to_string(row.implementation),
                             to_text(p), row.name, row.refusal(p)),
                 [&] {
                   make_plan(device(), p, {row.implementation, row.name});
                 });
  }
}

// ---- memory

/// Operands of one problem with room before and behind, and a plan for it.
class PlanMemory : public testing::Test {
 protected:
  struct Call {
    TensorView x, bias, y, w;
    Memory packed, workspace;
  };

  PlanMemory() {
    const auto place = [&](size_t bytes) {
      buffers_.push_back(device().allocate(bytes + 2 * kRoom));
      const Memory all = buffers_.back()->memory();
      return Memory{all.handle, all.offset + kRoom, bytes};
    };
    call_.x = x_view(problem_, place(size_t(problem_.x_bytes())));
    call_.w = w_view(problem_, place(size_t(problem_.w_bytes())));
    call_.bias = bias_view(problem_, place(size_t(problem_.K) * 4));
    call_.y = y_view(problem_, place(size_t(problem_.y_bytes())));
    call_.packed = place(plan_.packed_bytes());
    call_.workspace = place(std::max<size_t>(plan_.workspace_bytes(), 64));
  }

  void execute(const Call& c) { plan_.execute(*queue_, c.x, c.packed, c.bias, c.y, c.workspace); }

  /// The sentence of what `change` breaks; y must stay as it was.
  void expect_refused(const std::string& sentence, const std::function<void(Call&)>& change) {
    Call changed = call_;
    change(changed);
    auto* y = static_cast<char*>(call_.y.memory.address());
    std::memset(y, 0x5A, call_.y.memory.bytes);
    expect_error(ErrorCode::invalid_argument, sentence, [&] { execute(changed); });
    EXPECT_EQ(std::count(y, y + call_.y.memory.bytes, 0x5A), std::ptrdiff_t(call_.y.memory.bytes))
        << sentence;
  }
  void expect_pack_refused(const std::string& sentence, const std::function<void(Call&)>& change) {
    Call changed = call_;
    change(changed);
    expect_error(ErrorCode::invalid_argument, sentence,
                 [&] { plan_.pack(*queue_, changed.w, changed.packed); });
  }

  static constexpr size_t kRoom = 4096;
  const ConvProblem problem_ = parse_problem("2x3x6x7,k4,3x3,p1,bias");
  const Plan plan_ = make_plan(device(), problem_);
  const std::unique_ptr<Queue> queue_ = device().make_queue();
  std::vector<std::unique_ptr<Buffer>> buffers_;
  Call call_;
};

TEST_F(PlanMemory, WhatIsRightIsTaken) {
  plan_.pack(*queue_, call_.w, call_.packed);
  EXPECT_NO_THROW(execute(call_));
}

TEST_F(PlanMemory, Types) {
  expect_refused("x has dtype f16, but the plan needs f32",
                 [](Call& c) { c.x.dtype = DType::f16; });
  expect_refused("y has dtype bf16, but the plan needs f32",
                 [](Call& c) { c.y.dtype = DType::bf16; });
  expect_refused("bias has dtype f16, but the plan needs f32",
                 [](Call& c) { c.bias.dtype = DType::f16; });
  expect_pack_refused("w has dtype f16, but the plan needs f32",
                      [](Call& c) { c.w.dtype = DType::f16; });
}

TEST_F(PlanMemory, Sizes) {
  expect_refused("x has sizes 2x3x7x6, but the plan needs 2x3x6x7",
                 [](Call& c) { std::swap(c.x.sizes[2], c.x.sizes[3]); });
  expect_refused("y has sizes 1x4x6x7, but the plan needs 2x4x6x7",
                 [](Call& c) { c.y.sizes[0] = 1; });
  expect_refused("bias has sizes 1x4x1x1, but the plan needs 4x1x1x1", [](Call& c) {
    c.bias.sizes = {1, 4, 1, 1};
  });
  expect_pack_refused("w has sizes 4x3x9x1, but the plan needs 4x3x3x3", [](Call& c) {
    c.w.sizes = {4, 3, 9, 1};
  });
}

TEST_F(PlanMemory, StridesAreNeverIgnored) {
  expect_refused("x has strides 126, 1, 21, 3, but the plan needs the dense 126, 42, 7, 1",
                 [](Call& c) {
                   c.x.strides = {126, 1, 21, 3};
                 });
  expect_refused("x has strides 252, 42, 7, 1, but the plan needs the dense 126, 42, 7, 1",
                 [](Call& c) { c.x.strides[0] = 252; });
  expect_refused("x has strides 0, 42, 7, 1, but the plan needs the dense 126, 42, 7, 1",
                 [](Call& c) { c.x.strides[0] = 0; });
  expect_refused("y has strides 168, 42, 8, 1, but the plan needs the dense 168, 42, 7, 1",
                 [](Call& c) { c.y.strides[2] = 8; });
  expect_refused("bias has strides 2, 1, 1, 1, but the plan needs the dense 1, 1, 1, 1",
                 [](Call& c) { c.bias.strides[0] = 2; });
  expect_pack_refused("w has strides 27, 9, 1, 3, but the plan needs the dense 27, 9, 3, 1",
                      [](Call& c) {
                        c.w.strides = {27, 9, 1, 3};
                      });
}

TEST_F(PlanMemory, StridesOfOneElementSayNothing) {
  plan_.pack(*queue_, call_.w, call_.packed);
  call_.bias.strides = {1, 77, -5, 0};
  EXPECT_NO_THROW(execute(call_));
}

TEST_F(PlanMemory, TooSmall) {
  const auto less = [](Memory& m) { m.bytes -= 1; };
  expect_refused("x has 1007 bytes of memory, but its sizes need 1008",
                 [&](Call& c) { less(c.x.memory); });
  expect_refused("y has 1343 bytes of memory, but its sizes need 1344",
                 [&](Call& c) { less(c.y.memory); });
  expect_refused("bias has 15 bytes of memory, but its sizes need 16",
                 [&](Call& c) { less(c.bias.memory); });
  expect_refused("x has no memory (a null handle)", [](Call& c) {
    c.x.memory = {nullptr, 0, 1008};
  });
  const size_t packed = plan_.packed_bytes(), workspace = plan_.workspace_bytes();
  const auto scratch = [](const char* name, size_t has, size_t needs) {
    return fmt::format("{} has {} bytes, but the plan needs {}", name, has, needs);
  };
  expect_refused(scratch("packed", packed - 1, packed), [&](Call& c) { less(c.packed); });
  expect_pack_refused(scratch("packed", packed - 1, packed), [&](Call& c) { less(c.packed); });
  expect_refused(scratch("packed", packed, packed), [&](Call& c) {
    c.packed = {nullptr, 0, packed};
  });
  if (workspace > 0) {
    expect_refused(scratch("workspace", workspace - 1, workspace),
                   [&](Call& c) { c.workspace.bytes = workspace - 1; });
    expect_refused(scratch("workspace", 0, workspace), [](Call& c) { c.workspace = {}; });
  }
}

TEST_F(PlanMemory, Misaligned) {
  const auto shift = [](Memory& m, size_t by) { m.offset += by; };
  expect_refused("x begins 2 bytes past a multiple of 4, but must be aligned to 4",
                 [&](Call& c) { shift(c.x.memory, 2); });
  expect_refused("y begins 1 bytes past a multiple of 4, but must be aligned to 4",
                 [&](Call& c) { shift(c.y.memory, 1); });
  expect_refused("bias begins 3 bytes past a multiple of 4, but must be aligned to 4",
                 [&](Call& c) { shift(c.bias.memory, 3); });
  expect_refused("packed begins 4 bytes past a multiple of 64, but must be aligned to 64",
                 [&](Call& c) { shift(c.packed, 4); });
  expect_pack_refused("w begins 2 bytes past a multiple of 4, but must be aligned to 4",
                      [&](Call& c) { shift(c.w.memory, 2); });
  if (plan_.workspace_bytes() > 0)
    expect_refused("workspace begins 32 bytes past a multiple of 64, but must be aligned to 64",
                   [&](Call& c) { shift(c.workspace, 32); });
}

TEST_F(PlanMemory, AnyElementMayBeginATensor) {
  plan_.pack(*queue_, call_.w, call_.packed);
  execute(call_);
  std::vector<char> y(call_.y.memory.bytes);
  std::memcpy(y.data(), call_.y.memory.address(), y.size());
  for (TensorView* v : {&call_.x, &call_.bias, &call_.y}) {
    auto* from = static_cast<char*>(v->memory.address());
    std::memmove(from + 4, from, v->memory.bytes);
    v->memory.offset += 4;
  }
  execute(call_);
  EXPECT_EQ(std::memcmp(y.data(), call_.y.memory.address(), y.size()), 0);
}

TEST_F(PlanMemory, Overlaps) {
  const auto rule = [](const char* a, const char* b) {
    return fmt::format("{} overlaps {}, but a kernel writes it while it reads the other", a, b);
  };
  // The last element of one is the first of the other.
  const auto touch = [](Memory& m, const Memory& other) {
    m.handle = other.handle;
    m.offset = other.offset + other.bytes - 4;
  };
  expect_refused(rule("y", "x"), [&](Call& c) { touch(c.y.memory, c.x.memory); });
  expect_refused(rule("y", "x"), [&](Call& c) { touch(c.x.memory, c.y.memory); });
  expect_refused(rule("y", "bias"), [&](Call& c) { touch(c.bias.memory, c.y.memory); });
  expect_refused(rule("y", "packed"), [&](Call& c) { touch(c.y.memory, c.packed); });
  expect_refused(rule("y", "workspace"), [&](Call& c) { touch(c.y.memory, c.workspace); });
  expect_refused(rule("workspace", "x"), [&](Call& c) { touch(c.x.memory, c.workspace); });
  expect_refused(rule("workspace", "bias"), [&](Call& c) { touch(c.bias.memory, c.workspace); });
  expect_refused(rule("workspace", "packed"), [&](Call& c) {
    c.workspace = {c.packed.handle, c.packed.offset, std::max(c.workspace.bytes, size_t(64))};
  });
  expect_pack_refused(rule("packed", "w"), [&](Call& c) { touch(c.w.memory, c.packed); });
}

TEST_F(PlanMemory, NeighboursDoNotOverlap) {
  plan_.pack(*queue_, call_.w, call_.packed);
  const auto all = device().allocate(call_.x.memory.bytes + call_.y.memory.bytes);
  call_.x.memory = {all->memory().handle, 0, call_.x.memory.bytes};
  call_.y.memory = {all->memory().handle, call_.x.memory.bytes, call_.y.memory.bytes};
  EXPECT_NO_THROW(execute(call_));
}

TEST_F(PlanMemory, ABiasThatTheProblemLacksIsIgnored) {
  ConvProblem bare = problem_;
  bare.bias = false;
  const Plan plan = make_plan(device(), bare);
  const auto packed = device().allocate(plan.packed_bytes());
  const auto workspace = device().allocate(plan.workspace_bytes());
  plan.pack(*queue_, call_.w, packed->memory());
  EXPECT_NO_THROW(
      plan.execute(*queue_, call_.x, packed->memory(), {}, call_.y, workspace->memory()));
  EXPECT_NO_THROW(
      plan.execute(*queue_, call_.x, packed->memory(), call_.x, call_.y, workspace->memory()));
}

TEST_F(PlanMemory, AnEmptyBatchNeedsNoMemory) {
  ConvProblem empty = problem_;
  empty.N = 0;
  const Plan plan = make_plan(device(), empty);
  const auto packed = device().allocate(plan.packed_bytes());
  const auto workspace = device().allocate(plan.workspace_bytes());
  plan.pack(*queue_, call_.w, packed->memory());
  EXPECT_NO_THROW(plan.execute(*queue_, x_view(empty, {}), packed->memory(), call_.bias,
                               y_view(empty, {}), workspace->memory()));
}

TEST_F(PlanMemory, APlanMoves) {
  Plan plan = make_plan(device(), problem_);
  const std::string detail = plan.detail();
  Plan other = std::move(plan);
  EXPECT_EQ(other.detail(), detail);
  other = make_plan(device(), problem_, {Implementation::basic, ""});
  EXPECT_EQ(other.row().implementation, Implementation::basic);
}

/// A kernel on a device whose handles are objects.
class OnObjects final : public PreparedConv {
 public:
  size_t packed_bytes() const override { return 64; }
  void pack(Queue&, const TensorView&, Memory) const override {}
  void execute(Queue&, const TensorView&, Memory, const TensorView&, const TensorView&,
               Memory) const override {}
  bool handles_are_addresses() const override { return false; }
};

TEST(PlanOnObjects, ComparesOffsetsWithinOneObject) {
  const ConvProblem p = parse_problem("1x1x4x4,k1,1x1");
  const KernelRow row;
  const Plan plan(p, row, std::make_unique<OnObjects>());
  const auto queue = device().make_queue();
  char objects[3];  // beside each other and at odd addresses, as objects may be
  const auto execute = [&](Memory x, Memory y) {
    plan.execute(*queue, x_view(p, x), {&objects[2], 0, 64}, {}, y_view(p, y), {});
  };
  EXPECT_NO_THROW(execute({&objects[0], 0, 64}, {&objects[1], 0, 64}));
  EXPECT_NO_THROW(execute({&objects[0], 0, 64}, {&objects[0], 64, 64}));
  EXPECT_EQ(sentence_of([&] {
              execute({&objects[0], 0, 64}, {&objects[0], 60, 64});
            }),
            "y overlaps x, but a kernel writes it while it reads the other");
  EXPECT_EQ(sentence_of([&] {
              execute({&objects[0], 2, 64}, {&objects[1], 0, 64});
            }),
            "x begins 2 bytes past a multiple of 4, but must be aligned to 4");
}

// ---- convenience

TEST(Conv2d, ComputesOnHostMemory) {
  for (const char* text :
       {"2x4x9x11,k6,3x3,s2x1,p1x0x2x3,g2,bias,relu", "1x3x8x8,k5,3x3,p1,nhwc"}) {
    const ConvProblem p = parse_problem(text);
    const bench::Check check = bench::make_check(p, bench::DataMode::exact);
    std::vector<float> y(size_t(p.y_elements()));
    for (const auto role : {Implementation::basic, Implementation::optimized}) {
      std::fill(y.begin(), y.end(), -1e9f);
      conv2d(device(), p, check.data.x.data(), check.data.w.data(),
             p.bias ? check.data.bias.data() : nullptr, y.data(), {role, ""});
      for (const bench::Point& point : check.points)
        ASSERT_EQ(double(y[size_t(point.offset)]), point.expected.value) << text;
    }
  }
}

TEST(Conv2d, AnEmptyBatchTouchesNothing) {
  const ConvProblem p = parse_problem("0x3x8x8,k4,3x3");
  const std::vector<float> w(size_t(p.w_elements()), 1.0f);
  EXPECT_NO_THROW(conv2d(device(), p, nullptr, w.data(), nullptr, nullptr));
}

TEST(Conv2d, SaysWhatIsMissing) {
  ConvProblem p = parse_problem("1x1x2x2,k1,1x1,bias");
  const float x[4] = {}, w[1] = {};
  float y[4];
  expect_error(ErrorCode::invalid_argument, "bias is null, but the problem has a bias",
               [&] { conv2d(device(), p, x, w, nullptr, y); });
  p.bias = false;
  p.R = 3;
  EXPECT_THAT(sentence_of([&] { conv2d(device(), p, x, w, nullptr, y); }),
              HasSubstr("kernel height R = 3"));
}

// ---- device

TEST(CpuDevice, BuffersRefuseToBeOverrun) {
  const auto buffer = device().allocate(16);
  char host[32] = {};
  expect_error(ErrorCode::invalid_argument,
               "a copy of 17 bytes at offset 0 ends past the buffer's 16 bytes",
               [&] { buffer->upload(host, 17); });
  expect_error(ErrorCode::invalid_argument,
               "a copy of 8 bytes at offset 9 ends past the buffer's 16 bytes",
               [&] { buffer->upload(host, 8, 9); });
  expect_error(ErrorCode::invalid_argument,
               "a copy of 1 bytes at offset 16 ends past the buffer's 16 bytes",
               [&] { buffer->download(host, 1, 16); });
  expect_error(
      ErrorCode::invalid_argument,
      fmt::format("a copy of {} bytes at offset 8 ends past the buffer's 16 bytes", SIZE_MAX),
      [&] { buffer->download(host, SIZE_MAX, 8); });
  EXPECT_NO_THROW(buffer->upload(host, 8, 8));
  EXPECT_NO_THROW(buffer->download(host, 16));
}

TEST(CpuDevice, BuffersAreAlignedForScratchAndMayBeEmpty) {
  for (const size_t bytes : {size_t(0), size_t(1), size_t(5000)}) {
    const auto buffer = device().allocate(bytes);
    const Memory m = buffer->memory();
    EXPECT_EQ(m.bytes, bytes);
    ASSERT_NE(m.handle, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(m.address()) % Plan::kAlignment, 0u);
  }
}

TEST(CpuDevice, SaysWhenMemoryCannotBeHad) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer's allocator ends the program instead";
  expect_error(ErrorCode::too_large,
               "a buffer of 4611686018427387904 bytes cannot be allocated on the cpu",
               [] { device().allocate(size_t(1) << 62); });
}

TEST(CpuDevice, ChecksItsOptions) {
  expect_error(ErrorCode::invalid_argument, "threads is -1, but must be at least 1, or 0 for all",
               [] {
                 make_cpu_device({-1, "", false});
               });
  EXPECT_THAT(sentence_of([] {
                make_cpu_device({0, "none-such", false});
              }),
              testing::StartsWith("instruction set is 'none-such', but this machine runs "));
}

TEST(CpuDevice, RunsEveryInstructionSetThatItLists) {
  const auto isas = cpu_isas();
  ASSERT_FALSE(isas.empty());
  for (const std::string& isa : isas) {
    const auto made = make_cpu_device({3, isa, false});
    EXPECT_EQ(made->info().name, "cpu");
    EXPECT_EQ(made->info().compute_units, 3);
    EXPECT_EQ(made->info().facts.at("instruction set"), isa);
    EXPECT_TRUE(made->info().timed);
  }
  EXPECT_EQ(make_cpu_device({0, "", false})->info().facts.at("instruction set"), isas.front());
}

TEST(CpuDevice, QueuesTimeWhatTheyAreGiven) {
  const auto queue = device().make_queue();
  int calls = 0;
  EXPECT_GE(queue->time([&] { ++calls; }), 0);
  EXPECT_EQ(calls, 1);
  queue->wait();
}

TEST(CpuDevice, UsesTheCallersMemoryWhereItLies) {
  const ConvProblem p = parse_problem("1x1x3x3,k1,1x1");
  const Plan plan = make_plan(device(), p);
  const auto queue = device().make_queue();
  const auto packed = device().allocate(plan.packed_bytes());
  const auto workspace = device().allocate(plan.workspace_bytes());
  std::vector<float> x(10, 1.0f), y(10, -7.0f);
  const float w[] = {2};
  plan.pack(*queue, w_view(p, wrap(w, sizeof(w))), packed->memory());
  const auto execute = [&] {
    plan.execute(*queue, x_view(p, wrap(x.data(), 36, 4)), packed->memory(), {},
                 y_view(p, wrap(std::uint64_t(reinterpret_cast<std::uintptr_t>(y.data())), 36)),
                 workspace->memory());
  };
  execute();
  x[1] = 5;  // seen by the next execution without any copy
  execute();
  EXPECT_EQ(y, (std::vector<float>{10, 2, 2, 2, 2, 2, 2, 2, 2, -7}));
}

TEST(CpuDevice, HasNoStreams) {
  expect_error(ErrorCode::unsupported, "the device cpu has no streams that a queue could be on",
               [] { device().make_queue_on(nullptr); });
}

TEST(CpuDevice, RoofProbesRun) {
  const auto queue = device().make_queue();
  for (const RoofProbe& probe : device().roof_probes()) {
    EXPECT_FALSE(probe.path.empty()) << probe.name;
    EXPECT_GT(probe.work, 0) << probe.name;
    EXPECT_NO_THROW(probe.run(*queue)) << probe.name;
  }
}

}  // namespace
}  // namespace metalconv::test
