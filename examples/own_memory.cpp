// SPDX-License-Identifier: Apache-2.0
// Your own memory, without a copy: wrap() makes a Memory of a pointer. Here it is host memory on
// the cpu device. On cuda it is what cuMemAlloc or cudaMalloc gave, and on metal an MTL::Buffer*;
// Device::make_queue_on(stream) then puts the work on your own CUstream or MTL::CommandQueue, in
// order with yours.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "metalconv/metalconv.h"

using namespace metalconv;

int main() {
  try {
    const ConvProblem problem = parse_problem("1x3x48x64,k8,5x5,p2,nhwc,bias");
    const auto device = make_cpu_device();
    const auto queue = device->make_queue();
    const Plan plan = make_plan(*device, problem);

    // Someone else's: a camera's frames, one after the other, and the operands of a network.
    const std::size_t frame_bytes = problem.x_bytes();
    std::vector<float> frames(2 * problem.x_elements(), 1.0f);
    const std::vector<float> w(problem.w_elements(), 0.5f), bias(problem.K, 3.0f);
    std::vector<float> y(problem.y_elements());

    // What only metalconv reads comes from the device, aligned to Plan::kAlignment.
    const auto packed = device->allocate(plan.packed_bytes());
    const auto workspace = device->allocate(plan.workspace_bytes());
    plan.pack(*queue, w_view(problem, wrap(w.data(), problem.w_bytes())), packed->memory());

    const auto convolve = [&](int frame) {
      plan.execute(*queue, x_view(problem, wrap(frames.data(), frame_bytes, frame * frame_bytes)),
                   packed->memory(), bias_view(problem, wrap(bias.data(), problem.K * 4)),
                   y_view(problem, wrap(y.data(), problem.y_bytes())), workspace->memory());
      queue->wait();
      return y[(24 * problem.Q() + 32) * problem.K];  // row 24, column 32, channel 0
    };

    const float before = convolve(1);
    frames[problem.x_elements() + (24 * problem.W + 32) * problem.C] = 2.0f;  // in place
    const float after = convolve(1), untouched = convolve(0);
    std::printf("before %g, after %g, the other frame %g\n", before, after, untouched);
    return before == 40.5f && after == 41.0f && untouched == 40.5f ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
