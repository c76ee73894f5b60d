// SPDX-License-Identifier: Apache-2.0
// The planner, and the checks that stand between a caller's views and a kernel.
#include "metalconv/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include "core/registry.h"
#include "metalconv/error.h"

namespace metalconv {
namespace {

using std::size_t;

/// Throws unless `view` is dense, of the problem's type and of `wanted`'s sizes. Strides along an
/// axis of one element say nothing and are not compared.
void check_view(const char* name, const TensorView& view, const TensorView& wanted) {
  const auto fail = [&](const std::string& rule) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} {}", name, rule));
  };
  if (view.dtype != wanted.dtype)
    fail(fmt::format("has dtype {}, but the plan needs {}", to_string(view.dtype),
                     to_string(wanted.dtype)));
  if (view.sizes != wanted.sizes)
    fail(fmt::format("has sizes {}, but the plan needs {}", fmt::join(view.sizes, "x"),
                     fmt::join(wanted.sizes, "x")));
  size_t elements = 1;
  for (int axis = 0; axis < 4; ++axis) {
    elements *= size_t(view.sizes[axis]);
    if (view.sizes[axis] > 1 && view.strides[axis] != wanted.strides[axis])
      fail(fmt::format("has strides {}, but the plan needs the dense {}",
                       fmt::join(view.strides, ", "), fmt::join(wanted.strides, ", ")));
  }
  const size_t bytes = elements * size_of(view.dtype);
  if (view.memory.bytes < bytes)
    fail(fmt::format("has {} bytes of memory, but its sizes need {}", view.memory.bytes, bytes));
  if (bytes > 0 && !view.memory.handle) fail("has no memory (a null handle)");
}

/// Checks on the places of operands, which are addresses or offsets into an object.
class Places {
 public:
  explicit Places(const PreparedConv& prepared) : addresses_(prepared.handles_are_addresses()) {}

  void check_aligned(const char* name, const Memory& memory, size_t alignment) const {
    if (const size_t past = begin(memory) % alignment; past != 0)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} begins {} bytes past a multiple of {}, but must be aligned to {}",
                              name, past, alignment, alignment));
  }

  void check_scratch(const char* name, const Memory& memory, size_t bytes) const {
    if (memory.bytes < bytes || (bytes > 0 && !memory.handle))
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} has {} bytes, but the plan needs {}", name, memory.bytes, bytes));
    if (bytes > 0) check_aligned(name, memory, Plan::kAlignment);
  }

  void check_disjoint(const char* written, const Memory& a, const char* other,
                      const Memory& b) const {
    if (overlap(a, b))
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} overlaps {}, but a kernel writes it while it reads the other",
                              written, other));
  }

 private:
  std::uintptr_t begin(const Memory& m) const {
    return (addresses_ ? reinterpret_cast<std::uintptr_t>(m.handle) : 0) + m.offset;
  }
  bool overlap(const Memory& a, const Memory& b) const {
    if (!addresses_ && a.handle != b.handle) return false;
    return a.bytes > 0 && b.bytes > 0 && begin(a) < begin(b) + b.bytes &&
           begin(b) < begin(a) + a.bytes;
  }

  bool addresses_;
};

/// The same outputs with strides no larger than the padded input, so that kernels may multiply
/// them.
ConvProblem with_small_strides(ConvProblem p) {
  p.stride_h = std::min(p.stride_h, p.H + p.pad_top + p.pad_bottom);
  p.stride_w = std::min(p.stride_w, p.W + p.pad_left + p.pad_right);
  return p;
}

std::unique_ptr<const PreparedConv> prepare(const KernelRow& row, const ConvProblem& problem) {
  try {
    return row.make(with_small_strides(problem));
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  throw Error(ErrorCode::too_large, fmt::format("the kernel {} has not the memory to prepare {}",
                                                row.name, to_text(problem)));
}

/// Of each implementation, the row of least cost.
void choose_by_estimate(std::vector<Candidate>* candidates) {
  for (auto role : {Implementation::basic, Implementation::optimized, Implementation::vendor}) {
    Candidate* best = nullptr;
    for (Candidate& c : *candidates)
      if (c.row->implementation == role && c.refusal.empty() && (!best || c.cost < best->cost))
        best = &c;
    if (best) best->chosen = true;
  }
}

/// The measured winner takes the estimate's place, if it still may. Whether it did.
bool choose_by_measurement(const Wisdom& wisdom, const std::string& machine,
                           const ConvProblem& problem, ChoiceRule rule,
                           std::vector<Candidate>* candidates) {
  const WisdomEntry* entry = wisdom.find(machine, problem);
  if (!entry) return false;
  Candidate *estimated = nullptr, *winner = nullptr;
  for (Candidate& c : *candidates) {
    if (c.row->implementation != Implementation::optimized) continue;
    const auto time = entry->times_us.find(c.row->name);
    c.measured_us = time == entry->times_us.end() ? std::nullopt : std::optional(time->second);
    if (c.chosen) estimated = &c;
    if (c.row->name == entry->kernel && c.refusal.empty() && std::isfinite(c.cost)) winner = &c;
  }
  if (!winner) return false;
  if (estimated) estimated->chosen = false;
  winner->chosen = true;
  winner->rule = rule;
  winner->wisdom = &wisdom;
  return true;
}

void choose(const DeviceInfo& info, const ConvProblem& problem, const Wisdom* wisdom,
            std::span<const Wisdom> shipped, std::vector<Candidate>* candidates) {
  choose_by_estimate(candidates);
  if (wisdom && choose_by_measurement(*wisdom, machine_key(info), problem, ChoiceRule::measurement,
                                      candidates))
    return;
  const std::string hardware = hardware_key(info);
  for (const Wisdom& choices : shipped)
    if (choose_by_measurement(choices, hardware, problem, ChoiceRule::shipped, candidates)) return;
}

}  // namespace

std::string_view to_string(ChoiceRule rule) {
  switch (rule) {
    case ChoiceRule::measurement:
      return "measurement";
    case ChoiceRule::shipped:
      return "shipped choice";
    case ChoiceRule::estimate:
      break;
  }
  return "estimate";
}

Plan::Plan(ConvProblem problem, const KernelRow& row, std::unique_ptr<const PreparedConv> prepared)
    : problem_(problem), row_(&row), prepared_(std::move(prepared)) {}
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

std::string_view Plan::kernel() const { return row_->name; }
std::string Plan::detail() const { return prepared_->detail(); }
size_t Plan::packed_bytes() const { return prepared_->packed_bytes(); }
size_t Plan::workspace_bytes() const { return prepared_->workspace_bytes(); }

void Plan::pack(Queue& queue, const TensorView& w, Memory packed) const {
  const Places places(*prepared_);
  check_view("w", w, w_view(problem_, {}));
  places.check_aligned("w", w.memory, size_of(w.dtype));
  places.check_scratch("packed", packed, packed_bytes());
  places.check_disjoint("packed", packed, "w", w.memory);
  prepared_->pack(queue, w, packed);
}

void Plan::execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
                   const TensorView& y, Memory workspace) const {
  const Places places(*prepared_);
  const auto check = [&](const char* name, const TensorView& view, const TensorView& wanted) {
    check_view(name, view, wanted);
    places.check_aligned(name, view.memory, size_of(view.dtype));
  };
  check("x", x, x_view(problem_, {}));
  check("y", y, y_view(problem_, {}));
  if (problem_.bias) check("bias", bias, bias_view(problem_, {}));
  places.check_scratch("packed", packed, packed_bytes());
  places.check_scratch("workspace", workspace, workspace_bytes());
  const std::pair<const char*, Memory> read[] = {
      {"x", x.memory}, {"packed", packed}, {"bias", problem_.bias ? bias.memory : Memory()}};
  for (const auto& [name, memory] : read) {
    places.check_disjoint("y", y.memory, name, memory);
    places.check_disjoint("workspace", workspace, name, memory);
  }
  places.check_disjoint("y", y.memory, "workspace", workspace);
  if (problem_.N == 0) return;  // an empty output is complete
  prepared_->execute(queue, x, packed, bias, y, workspace);
}

namespace {

/// Of one role, or all. To ask a vendor's library what it does takes it a millisecond.
std::vector<Candidate> candidates_of(Device& device, const ConvProblem& problem,
                                     const Wisdom* wisdom, std::span<const Wisdom> shipped,
                                     std::optional<Implementation> role) {
  problem.validate();
  std::vector<Candidate> candidates;
  for (const KernelRow& row : device.registry().rows()) {
    if (role && row.implementation != *role) continue;
    Candidate c{&row, row.refusal(problem)};
    if (c.refusal.empty()) c.cost = row.cost(problem);
    candidates.push_back(std::move(c));
  }
  choose(device.info(), problem, wisdom, shipped, &candidates);
  return candidates;
}

}  // namespace

std::vector<Candidate> explain(Device& device, const ConvProblem& problem, const Wisdom* wisdom,
                               std::span<const Wisdom> shipped) {
  return candidates_of(device, problem, wisdom, shipped, {});
}

Plan make_plan(Device& device, const ConvProblem& problem, const PlanOptions& options) {
  std::string reasons;
  for (const Candidate& c :
       candidates_of(device, problem, options.wisdom, options.shipped, options.implementation)) {
    const bool wanted = options.kernel.empty() ? c.chosen : c.row->name == options.kernel;
    if (wanted && c.refusal.empty()) return Plan(problem, *c.row, prepare(*c.row, problem));
    if (options.kernel.empty() || wanted)
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", c.row->name, c.refusal);
  }
  if (reasons.empty())
    reasons = options.kernel.empty() ? std::string("there is none")
                                     : fmt::format("there is no kernel '{}'", options.kernel);
  throw Error(ErrorCode::unsupported,
              fmt::format("no {} kernel on {} does {}: {}", to_string(options.implementation),
                          device.info().name, to_text(problem), reasons));
}

void conv2d(Device& device, const ConvProblem& problem, const void* x, const void* w,
            const void* bias, void* y, const PlanOptions& options) {
  problem.validate();
  if (problem.bias && !bias)
    throw Error(ErrorCode::invalid_argument, "bias is null, but the problem has a bias");
  const Plan plan = make_plan(device, problem, options);
  const auto queue = device.make_queue();
  const auto upload = [&](const void* host, std::int64_t bytes) {
    auto buffer = device.allocate(size_t(bytes));
    if (bytes > 0) buffer->upload(host, size_t(bytes));
    return buffer;
  };
  const auto xb = upload(x, problem.x_bytes());
  const auto wb = upload(w, problem.w_bytes());
  const auto bb = upload(bias, problem.bias ? problem.K * std::int64_t(size_of(problem.dtype)) : 0);
  const auto yb = device.allocate(size_t(problem.y_bytes()));
  const auto packed = device.allocate(plan.packed_bytes());
  const auto workspace = device.allocate(plan.workspace_bytes());
  plan.pack(*queue, w_view(problem, wb->memory()), packed->memory());
  plan.execute(*queue, x_view(problem, xb->memory()), packed->memory(),
               bias_view(problem, bb->memory()), y_view(problem, yb->memory()),
               workspace->memory());
  queue->wait();
  if (problem.y_bytes() > 0) yb->download(y, size_t(problem.y_bytes()));
}

}  // namespace metalconv
