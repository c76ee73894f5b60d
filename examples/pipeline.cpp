// SPDX-License-Identifier: Apache-2.0
// A small network on a queue: three plans are enqueued one after the other and waited for once. On
// a GPU the host is free in between, and activations never leave the device.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "metalconv/metalconv.h"

using namespace metalconv;

/// A convolution with its weights packed and its output allocated.
class Layer {
 public:
  Layer(Device& device, Queue& queue, const std::string& problem, float weight)
      : plan_(make_plan(device, parse_problem(problem))),
        packed_(device.allocate(plan_.packed_bytes())),
        workspace_(device.allocate(plan_.workspace_bytes())),
        y_(device.allocate(this->problem().y_bytes())) {
    const std::vector<float> w(this->problem().w_elements(), weight);
    const auto weights = device.allocate(this->problem().w_bytes());
    weights->upload(w.data(), this->problem().w_bytes());
    plan_.pack(queue, w_view(this->problem(), weights->memory()), packed_->memory());
    queue.wait();  // the weights are let go of: packed_ has them
  }

  const ConvProblem& problem() const { return plan_.problem(); }
  const Buffer& output() const { return *y_; }

  /// Only enqueues: neither waits nor allocates.
  Memory operator()(Queue& queue, Memory x) const {
    plan_.execute(queue, x_view(problem(), x), packed_->memory(), {},
                  y_view(problem(), y_->memory()), workspace_->memory());
    return y_->memory();
  }

 private:
  Plan plan_;
  std::unique_ptr<Buffer> packed_, workspace_, y_;
};

int main() {
  try {
    const auto device = make_cpu_device();  // or make_cuda_device(), make_metal_device()
    const auto queue = device->make_queue();

    const std::vector<Layer> layers = [&] {
      std::vector<Layer> made;
      made.emplace_back(*device, *queue, "1x3x64x64,k16,3x3,s2,p1,relu", 0.125f);
      made.emplace_back(*device, *queue, "1x16x32x32,k16,3x3,p1,g16,relu", 0.5f);
      made.emplace_back(*device, *queue, "1x16x32x32,k4,1x1", 0.25f);
      return made;
    }();

    const ConvProblem& first = layers.front().problem();
    const std::vector<float> image(first.x_elements(), 1.0f);
    const auto input = device->allocate(first.x_bytes());
    input->upload(image.data(), first.x_bytes());

    Memory activation = input->memory();
    for (const Layer& layer : layers) activation = layer(*queue, activation);
    queue->wait();  // the only wait; a failure of any of them is thrown here

    const ConvProblem& last = layers.back().problem();
    std::vector<float> y(last.y_elements());
    layers.back().output().download(y.data(), last.y_bytes());

    // 27 taps of 1/8, 9 of 1/2, 16 of 1/4: 3.375 * 4.5 * 4. The first row lacks taps.
    const float middle = y[16 * last.Q() + 16];
    std::printf("%lld x %lld x %lld, middle %g\n", static_cast<long long>(last.K),
                static_cast<long long>(last.P()), static_cast<long long>(last.Q()), middle);
    return middle == 60.75f && y[0] < middle ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
