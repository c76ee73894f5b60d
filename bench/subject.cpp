// SPDX-License-Identifier: Apache-2.0
#include "bench/subject.h"

#include <algorithm>

namespace metalconv::bench {
namespace {

constexpr std::size_t kGuard = 4096;  // a page, so that the operand stays page-aligned
constexpr std::size_t kPiece = std::size_t(1) << 25;
constexpr std::byte kCanary{0xA5}, kPoison{0xFF};

}  // namespace

Guarded::Guarded(Device& device, std::size_t bytes)
    : bytes_(bytes), buffer_(device.allocate(bytes + 2 * kGuard)) {
  const std::vector<std::byte> canary(kGuard, kCanary);
  buffer_->upload(canary.data(), kGuard, 0);
  buffer_->upload(canary.data(), kGuard, kGuard + bytes_);
}

Memory Guarded::memory() const {
  Memory whole = buffer_->memory();
  return {whole.handle, whole.offset + kGuard, bytes_};
}

void Guarded::write(const std::vector<std::byte>& host) {
  if (!host.empty()) buffer_->upload(host.data(), host.size(), kGuard);
}

std::vector<std::byte> Guarded::download() const {
  std::vector<std::byte> host(bytes_);
  if (bytes_ > 0) buffer_->download(host.data(), bytes_, kGuard);
  return host;
}

void Guarded::read(
    const std::function<bool(std::size_t, const std::byte*, std::size_t)>& piece) const {
  std::vector<std::byte> block(std::min(bytes_, kPiece));
  for (std::size_t at = 0; at < bytes_; at += block.size()) {
    const std::size_t bytes = std::min(block.size(), bytes_ - at);
    buffer_->download(block.data(), bytes, kGuard + at);
    if (!piece(at, block.data(), bytes)) return;
  }
}

void Guarded::poison() {
  const std::vector<std::byte> block(std::min<std::size_t>(bytes_, 1 << 24), kPoison);
  for (std::size_t at = 0; at < bytes_; at += block.size())
    buffer_->upload(block.data(), std::min(block.size(), bytes_ - at), kGuard + at);
}

bool Guarded::intact() const {
  std::vector<std::byte> guard(kGuard);
  for (std::size_t offset : {std::size_t(0), kGuard + bytes_}) {
    buffer_->download(guard.data(), kGuard, offset);
    if (std::any_of(guard.begin(), guard.end(), [](std::byte b) { return b != kCanary; }))
      return false;
  }
  return true;
}

Operands::Operands(Device& device, const ConvProblem& p)
    : x(device, std::size_t(p.x_bytes())),
      w(device, std::size_t(p.w_bytes())),
      bias(device, p.bias ? std::size_t(p.K) * size_of(p.dtype) : 0),
      y(device, std::size_t(p.y_bytes())) {}

double Operands::bytes(const ConvProblem& p) {
  return double(p.x_bytes()) + double(p.w_bytes()) + double(p.y_bytes());
}

Subject::Subject(Device& device, Queue& queue, Plan plan, Operands& operands)
    : device_(device),
      queue_(queue),
      plan_(std::move(plan)),
      operands_(operands),
      packed_(device, plan_.packed_bytes()),
      workspace_(device, plan_.workspace_bytes()) {}

void Subject::pack() {
  plan_.pack(queue_, w_view(plan_.problem(), operands_.w.memory()), packed_.memory());
  queue_.wait();
}

void Subject::execute(Operands& o) const {
  const ConvProblem& p = plan_.problem();
  plan_.execute(queue_, x_view(p, o.x.memory()), packed_.memory(), bias_view(p, o.bias.memory()),
                y_view(p, o.y.memory()), workspace_.memory());
}

}  // namespace metalconv::bench
