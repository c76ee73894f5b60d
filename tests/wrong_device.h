// SPDX-License-Identifier: Apache-2.0
// What every check must find out.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/registry.h"
#include "metalconv/device.h"

namespace metalconv::test {

/// A device whose only kernel writes what it is told to.
class WrongDevice final : public Device {
 public:
  WrongDevice(Device& cpu, float written) : cpu_(cpu) {
    struct Wrong final : PreparedConv {
      explicit Wrong(float v) : value(v) {}
      std::size_t packed_bytes() const override { return 0; }
      void pack(Queue&, const TensorView&, Memory) const override {}
      void execute(Queue&, const TensorView&, Memory, const TensorView&, const TensorView& y,
                   Memory) const override {
        auto* out = static_cast<float*>(y.memory.address());
        std::fill_n(out, y.memory.bytes / sizeof(float), value);
      }
      float value;
    };
    KernelRow row;
    row.name = "wrong";
    row.dtypes = {DType::f32};
    row.layouts = {Layout::nchw};
    row.activations = {Activation::none, Activation::relu};
    row.supports = [](const ConvProblem&) { return std::string(); };
    row.cost = [](const ConvProblem&) { return 1.0; };
    row.make = [written](const ConvProblem&) { return std::make_unique<Wrong>(written); };
    registry_.add(std::move(row));
  }
  const DeviceInfo& info() const override { return cpu_.info(); }
  std::unique_ptr<Buffer> allocate(std::size_t bytes) override { return cpu_.allocate(bytes); }
  std::unique_ptr<Queue> make_queue() override { return cpu_.make_queue(); }
  const Registry& registry() const override { return registry_; }
  std::vector<RoofProbe> roof_probes() override { return {}; }

 private:
  Device& cpu_;
  Registry registry_;
};

}  // namespace metalconv::test
