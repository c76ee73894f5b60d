// SPDX-License-Identifier: Apache-2.0
#include "plan.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "cli/devices.h"
#include "core/registry.h"
#include "metalconv/cuda.h"
#include "metalconv/error.h"

namespace metalconv::python {

Device& device(const std::string& name, int ordinal) {
  // Never destroyed: a driver's library may be gone before static objects are.
  static auto* mutex = new std::mutex;
  static auto* devices = new std::map<std::pair<std::string, int>, std::unique_ptr<Device>>;
  const std::lock_guard lock(*mutex);
  auto& known = (*devices)[{name, ordinal}];
  if (!known) {
    CudaOptions cuda;
    cuda.ordinal = ordinal;
    known = name == "cuda" ? make_cuda_device(cuda) : cli::open_device(name);
  }
  return *known;
}

/// A lane for the length of an execution.
class BoundPlan::LaneGuard {
 public:
  explicit LaneGuard(BoundPlan& plan) : plan_(plan) {
    {
      const std::lock_guard lock(plan.lanes_mutex_);
      if (!plan.lanes_.empty()) {
        lane_ = std::move(plan.lanes_.back());
        plan.lanes_.pop_back();
        return;
      }
    }
    lane_ = std::make_unique<Lane>();
    lane_->queue = plan.make_queue();
    lane_->workspace = plan.device_.allocate(plan.plan_.workspace_bytes());
  }
  ~LaneGuard() {
    const std::lock_guard lock(plan_.lanes_mutex_);
    plan_.lanes_.push_back(std::move(lane_));
  }
  LaneGuard(const LaneGuard&) = delete;
  LaneGuard& operator=(const LaneGuard&) = delete;

  Lane* operator->() const { return lane_.get(); }

 private:
  BoundPlan& plan_;
  std::unique_ptr<Lane> lane_;
};

BoundPlan::BoundPlan(const std::string& device_name, int ordinal, const ConvProblem& problem,
                     const PlanOptions& options)
    : device_(device(device_name, ordinal)),
      ordinal_(ordinal),
      plan_(make_plan(device_, problem, options)) {}

/// On CUDA the default stream, which a producer's __dlpack__ without a stream is in order with.
std::unique_ptr<Queue> BoundPlan::make_queue() const {
  return device_.info().name == "cuda" ? device_.make_queue_on(nullptr) : device_.make_queue();
}

bool BoundPlan::sees_host() const {
  const std::string& name = device_.info().name;
  return name == "cpu" || name == "emulator";
}

Memory BoundPlan::place(const Tensor& tensor, std::unique_ptr<Buffer>* copy) const {
  const Place place = tensor.place();
  if (place.cuda && (device_.info().name != "cuda" || place.ordinal != ordinal_))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} is on {}, but the plan is on {}{}", tensor.name(), to_text(place),
                            device_.info().name,
                            device_.info().name == "cuda" ? fmt::format(":{}", ordinal_) : ""));
  if (place.cuda || sees_host()) return wrap(tensor.address(), tensor.bytes());
  if (!*copy || (*copy)->memory().bytes != tensor.bytes()) *copy = device_.allocate(tensor.bytes());
  return (*copy)->memory();
}

void BoundPlan::pack(const Tensor& w, const std::optional<Tensor>& bias) {
  const ConvProblem& problem = plan_.problem();
  if (problem.bias != bias.has_value())
    throw Error(ErrorCode::invalid_argument,
                problem.bias ? "bias is None, but the plan was made with a bias"
                             : "bias is given, but the plan was made without one");
  std::optional<Tensor> next = bias, before;  // references are counted with the GIL held
  const nb::gil_scoped_release free;
  const std::unique_lock lock(packing_);
  std::unique_ptr<Buffer> copy;
  const Memory weights = place(w, &copy);
  if (copy) copy->upload(w.address(), w.bytes());
  if (bias) {
    place(*bias, &bias_copy_);
    if (bias_copy_) bias_copy_->upload(bias->address(), bias->bytes());
    if (bias->dtype() != problem.dtype || bias->sizes() != std::vector{problem.K})
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("bias has {} elements of {}, but the plan needs {} of {}",
                              bias->bytes() / size_of(bias->dtype()), to_string(bias->dtype()),
                              problem.K, to_string(problem.dtype)));
  }
  is_packed_ = false;
  if (!packed_) packed_ = device_.allocate(plan_.packed_bytes());
  const auto queue = make_queue();
  plan_.pack(*queue, w.weights(weights), packed_->memory());
  queue->wait();
  before = std::exchange(bias_, std::nullopt);
  bias_ = std::move(next);
  is_packed_ = true;
}

void BoundPlan::unpack() {
  std::optional<Tensor> before;  // let go of behind the lock, with the GIL held
  const std::unique_lock lock(packing_);
  before = std::exchange(bias_, std::nullopt);
  is_packed_ = false;
}

void BoundPlan::execute(const Tensor& x, const Tensor& y) {
  const nb::gil_scoped_release free;
  const std::shared_lock lock(packing_);
  if (!is_packed_)
    throw Error(ErrorCode::invalid_argument, "the plan has no weights: call pack(w) first");
  const Layout layout = plan_.problem().layout;
  const LaneGuard lane(*this);
  const TensorView x_view = x.activation(place(x, &lane->x), layout);
  const TensorView y_view = y.activation(place(y, &lane->y), layout);
  const bool copies_y = lane->y && y_view.memory.handle == lane->y->memory().handle;
  if (lane->x && x_view.memory.handle == lane->x->memory().handle)
    lane->x->upload(x.address(), x.bytes());
  TensorView bias;
  if (bias_)
    bias = bias_->bias(bias_copy_ ? bias_copy_->memory() : wrap(bias_->address(), bias_->bytes()));
  plan_.execute(*lane->queue, x_view, packed_->memory(), bias, y_view, lane->workspace->memory());
  lane->queue->wait();
  if (copies_y) lane->y->download(const_cast<void*>(y.address()), y.bytes());
}

std::vector<std::int64_t> BoundPlan::output_sizes() const {
  const ConvProblem& p = plan_.problem();
  if (p.layout == Layout::nchw) return {p.N, p.K, p.P(), p.Q()};
  return {p.N, p.P(), p.Q(), p.K};
}

Tensor BoundPlan::output(const Tensor& x, bool bits) const {
  std::vector<std::int64_t> sizes = output_sizes();
  if (x.sizes().size() == 3) sizes.erase(sizes.begin());
  Device& owner = x.place().cuda ? device_ : device("cpu");
  return Tensor(owner, x.place(), sizes, plan_.problem().dtype, bits);
}

std::string BoundPlan::explain() const {
  std::string text = fmt::format("{} on {}\n", to_text(plan_.problem()), device_.info().name);
  for (const Candidate& c : metalconv::explain(device_, plan_.problem())) {
    const bool runs = c.row == &plan_.row();
    text +=
        fmt::format("{} {} {}: ", runs ? "*" : " ", to_string(c.row->implementation), c.row->name);
    text += c.refusal.empty() ? fmt::format("estimated {:.1f} us", c.cost * 1e6) : c.refusal;
    if (runs) text += fmt::format("; runs as {}", plan_.detail());
    text += "\n";
  }
  return text;
}

}  // namespace metalconv::python
