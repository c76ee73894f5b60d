// SPDX-License-Identifier: Apache-2.0
#include "cuda/vendor_conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "cuda/runtime.h"
#include "metalconv/error.h"

namespace metalconv::cuda::cudnn {
namespace {

constexpr std::size_t kPart = 256;  // parts of a workspace begin at multiples of it

std::size_t round_up(std::size_t bytes) { return (bytes + kPart - 1) / kPart * kPart; }

/// The address of an operand; plans were made for aligned ones.
void* aligned(const char* name, const Memory& memory) {
  void* address = memory.handle ? memory.address() : nullptr;
  if (reinterpret_cast<std::uintptr_t>(address) % std::uintptr_t(kAlignment) != 0)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} is at address {}, but cuDNN needs a multiple of {} bytes", name,
                            address, kAlignment));
  return address;
}

}  // namespace

void Stage::enqueue(Session& session, Handle stream, const Operands& operands,
                    void* workspace) const {
  std::vector<std::int64_t> ids;
  std::vector<void*> addresses;
  for (TensorId id : graph->operands) {
    ids.push_back(id);
    addresses.push_back(operands[std::size_t(id)]);
  }
  Descriptor pack(session.api(), DescriptorType::variant_pack);
  pack.set(Attribute::pack_ids, ids);
  pack.set_pointers(Attribute::pack_pointers, addresses);
  pack.set_pointers(Attribute::pack_workspace, std::span(&workspace, 1));
  pack.finalize();
  session.execute(stream, plan.plan, pack);
}

CudnnConv::CudnnConv(std::shared_ptr<Session> session, const ConvProblem& problem, Route route,
                     std::string note)
    : session_(std::move(session)),
      problem_(problem),
      route_(std::move(route)),
      note_(std::move(note)) {
  const auto reserve = [&](std::int64_t bytes) {
    return std::exchange(workspace_bytes_, workspace_bytes_ + round_up(std::size_t(bytes)));
  };
  std::size_t engines = 0;
  for (const auto& stage : route_.stages) engines = std::max(engines, stage->plan.workspace_bytes);
  reserve(std::int64_t(engines));
  if (route_.stages.size() > 1)
    sum_at_ = reserve(problem_.y_elements() * std::int64_t(sizeof(float)));
  const auto conversion = [&](TensorId id, Layout from, Layout to) {
    return Conversion(session_->api(), problem_.dtype, sizes_of(problem_, id), from, to);
  };
  if (route_.inside != Layout::nchw) w_in_ = conversion(kW, Layout::nchw, route_.inside);
  if (!converts()) return;
  x_in_ = conversion(kX, problem_.layout, route_.inside);
  y_out_ = conversion(kY, route_.inside, problem_.layout);
  x_at_ = reserve(problem_.x_bytes());
  y_at_ = reserve(problem_.y_bytes());
}

std::size_t CudnnConv::packed_bytes() const { return std::size_t(problem_.w_bytes()); }

void CudnnConv::pack(Queue& queue, const TensorView& w, Memory packed) const {
  const void* from = w.memory.address();
  if (w_in_) return w_in_->enqueue(*session_, stream_of(queue), from, packed.address());
  const Current current(session_->context());
  const Driver& cu = session_->context().driver();
  cu.call(cu.copy, pointer_of(packed.address()), pointer_of(from), packed_bytes(),
          stream_of(queue));
}

void CudnnConv::execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
                        const TensorView& y, Memory workspace) const {
  const Handle stream = stream_of(queue);
  auto* const scratch = static_cast<std::byte*>(aligned("workspace", workspace));
  Operands operands{};
  operands[kX] = aligned("x", x.memory);
  operands[kW] = aligned("packed", packed);
  operands[kY] = aligned("y", y.memory);
  if (problem_.bias) operands[kBias] = aligned("bias", bias.memory);
  if (route_.stages.size() > 1) operands[kSum] = scratch + sum_at_;
  if (x_in_) x_in_->enqueue(*session_, stream, operands[kX], scratch + x_at_);
  if (converts()) {
    operands[kX] = scratch + x_at_;
    operands[kY] = scratch + y_at_;
  }
  for (const auto& stage : route_.stages) stage->enqueue(*session_, stream, operands, scratch);
  if (y_out_) y_out_->enqueue(*session_, stream, operands[kY], y.memory.address());
}

std::string CudnnConv::detail() const {
  std::vector<std::int64_t> engines;
  for (const auto& stage : route_.stages) engines.push_back(stage->config.engine);
  return fmt::format("cuDNN {}, engine {}, {} inside, {}", session_->api().version(),
                     fmt::join(engines, " + "), route_.inside == Layout::nchw ? "NCHW" : "NHWC",
                     note_);
}

}  // namespace metalconv::cuda::cudnn
