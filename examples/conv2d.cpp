// SPDX-License-Identifier: Apache-2.0
// One convolution on host memory, then many with a plan.
#include <cstdio>
#include <vector>

#include "metalconv/metalconv.h"

using namespace metalconv;

/// Everything at once: allocates, copies and waits.
std::vector<float> convolve(Device& device, const ConvProblem& problem, const std::vector<float>& x,
                            const std::vector<float>& w, const std::vector<float>& bias) {
  std::vector<float> y(problem.y_elements());
  conv2d(device, problem, x.data(), w.data(), bias.data(), y.data());
  return y;
}

/// The same in steps. What is prepared once (kernel, packed weights, memory) serves every frame.
std::vector<float> convolve_frames(Device& device, const ConvProblem& problem, int frames,
                                   const std::vector<float>& x, const std::vector<float>& w,
                                   const std::vector<float>& bias) {
  const Plan plan = make_plan(device, problem);
  std::printf("%s runs on %s as %s: %s\n", to_text(problem).c_str(), device.info().name.c_str(),
              std::string(plan.kernel()).c_str(), plan.detail().c_str());

  const auto wb = device.allocate(problem.w_bytes());
  const auto bb = device.allocate(bias.size() * sizeof(float));
  const auto xb = device.allocate(problem.x_bytes());
  const auto yb = device.allocate(problem.y_bytes());
  const auto packed = device.allocate(plan.packed_bytes());
  const auto workspace = device.allocate(plan.workspace_bytes());

  const auto queue = device.make_queue();
  wb->upload(w.data(), problem.w_bytes());
  bb->upload(bias.data(), bias.size() * sizeof(float));
  plan.pack(*queue, w_view(problem, wb->memory()), packed->memory());

  std::vector<float> y(problem.y_elements());
  for (int frame = 0; frame < frames; ++frame) {
    xb->upload(x.data(), problem.x_bytes());
    plan.execute(*queue, x_view(problem, xb->memory()), packed->memory(),
                 bias_view(problem, bb->memory()), y_view(problem, yb->memory()),
                 workspace->memory());  // enqueues, does not wait
    queue->wait();
    yb->download(y.data(), problem.y_bytes());
  }
  return y;
}

int main() {
  try {
    // A batch of one RGB image of 120 rows and 160 columns to 8 channels by 3x3 kernels.
    const ConvProblem problem = parse_problem("1x3x120x160,k8,3x3,p1,bias,relu");
    const std::vector<float> x(problem.x_elements(), 1.0f);
    const std::vector<float> w(problem.w_elements(), 0.5f);
    const std::vector<float> bias(problem.K, -1.0f);

    const auto device = make_cpu_device();
    const std::vector<float> once = convolve(*device, problem, x, w, bias);
    const std::vector<float> again = convolve_frames(*device, problem, 10, x, w, bias);

    // 27 taps of 0.5 make 13.5; a corner sees 12 of them.
    const float corner = again[0], inside = again[problem.Q() + 1];
    std::printf("corner %g, inside %g\n", corner, inside);
    return corner == 5.0f && inside == 12.5f && once == again ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
