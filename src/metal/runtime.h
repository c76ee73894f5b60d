// SPDX-License-Identifier: Apache-2.0
// Apple GPUs through metal-cpp, and the door through which a vendor's work enters our queues. No
// type of metal-cpp or of Objective-C appears here: the two do not mix in one file.
#pragma once

#include <functional>
#include <memory>

#include "gpu/runtime.h"

namespace metalconv::metal {

/// The system's default GPU. Throws Error{device} when there is none.
std::unique_ptr<gpu::Runtime> make_runtime();

/// The id<MTLDevice> of a runtime that make_runtime() made.
void* device_object(gpu::Runtime& runtime);

/// Puts work that is not ours in a queue, in order with our launches and inside their timing.
/// `encode` is given the queue's id<MTLCommandBuffer>, on which no encoder is open, and returns,
/// retained, the one to go on with: another when the first was committed meanwhile, as MPSGraph
/// does.
void encode(Queue& queue, const std::function<void*(void* command_buffer)>& encode);

}  // namespace metalconv::metal
