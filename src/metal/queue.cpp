// SPDX-License-Identifier: Apache-2.0
#include "metal/queue.h"

#include <algorithm>
#include <utility>

#include "metalconv/error.h"

namespace metalconv::metal {

MetalQueue::MetalQueue(Owned<MTL::CommandQueue> queue) : queue_(std::move(queue)) {
  if (!queue_) throw Error(ErrorCode::device, "Metal gives no command queue");
}

// Metal itself keeps committed work and its buffers alive until it has run.
MetalQueue::~MetalQueue() { abandon(); }

void MetalQueue::wait() {
  const Pool pool;
  finish();
}

double MetalQueue::time(const std::function<void()>& enqueue) {
  const Pool pool;
  finish();
  span_.reset();
  timing_ = true;
  try {
    enqueue();
  } catch (...) {
    timing_ = false;
    abandon();
    throw;
  }
  timing_ = false;
  if (open_) commit();
  finish();
  return span_ ? span_->end - span_->start : 0;
}

void MetalQueue::dispatch(const std::function<void(MTL::ComputeCommandEncoder&)>& encode) {
  const Pool pool;
  encode(encoder());
  if (!timing_) commit();
}

void MetalQueue::encode(const std::function<void*(void*)>& encode) {
  const Pool pool;
  end_encoding();
  MTL::CommandBuffer& before = command_buffer();
  CommandBuffer after;
  try {
    after = adopt(static_cast<MTL::CommandBuffer*>(encode(&before)));
  } catch (...) {
    abandon();  // a part of it may be there
    throw;
  }
  if (after.get() != &before) committed_.push_back(std::move(open_));
  open_ = std::move(after);
  if (!timing_) commit();
}

MTL::CommandBuffer& MetalQueue::command_buffer() {
  if (!open_) {
    open_ = retain(queue_->commandBuffer());
    if (!open_) throw Error(ErrorCode::device, "Metal gives no command buffer");
  }
  return *open_;
}

MTL::ComputeCommandEncoder& MetalQueue::encoder() {
  if (!encoder_) {
    encoder_ = retain(command_buffer().computeCommandEncoder());
    if (!encoder_) throw Error(ErrorCode::device, "Metal gives no compute command encoder");
  }
  return *encoder_;
}

void MetalQueue::end_encoding() {
  if (encoder_) encoder_->endEncoding();
  encoder_.reset();
}

void MetalQueue::abandon() {
  end_encoding();
  open_.reset();
}

void MetalQueue::commit() {
  end_encoding();
  open_->commit();
  committed_.push_back(std::move(open_));
  retire_completed();
}

void MetalQueue::retire(const MTL::CommandBuffer& done) {
  if (done.status() != MTL::CommandBufferStatusCompleted) {
    if (!failure_) failure_ = words(done.error());
    return;
  }
  const Span span{done.GPUStartTime(), done.GPUEndTime()};
  span_ = span_ ? Span{std::min(span_->start, span.start), std::max(span_->end, span.end)} : span;
}

void MetalQueue::retire_completed() {
  while (!committed_.empty() && committed_.front()->status() >= MTL::CommandBufferStatusCompleted) {
    retire(*committed_.front());
    committed_.pop_front();
  }
}

void MetalQueue::finish() {
  for (; !committed_.empty(); committed_.pop_front()) {
    committed_.front()->waitUntilCompleted();
    retire(*committed_.front());
  }
  if (const auto failure = std::exchange(failure_, std::nullopt))
    throw Error(ErrorCode::device, fmt::format("a Metal command buffer failed: {}", *failure));
}

}  // namespace metalconv::metal
