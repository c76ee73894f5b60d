// SPDX-License-Identifier: Apache-2.0
#include "gpu/device.h"

#include "gpu/roofs.h"
#include "gpu/rows.h"
#include "gpu/turned.h"
#include "gpu/winograd_nonfused.h"

namespace metalconv::gpu {
namespace {

class GpuDevice final : public Device {
 public:
  explicit GpuDevice(DeviceParts parts)
      : runtime_(std::move(parts.runtime)),
        own_roofs_(std::move(parts.own_roofs)),
        cache_(*runtime_),
        info_(runtime_->info()) {
    info_.timed = parts.timed;
    info_.facts.merge(parts.facts);
    for (const ConvKernel& kernel : conv_kernels())
      registry_.add(make_row(kernel, *runtime_, cache_));
    for (KernelRow& row : parts.own) registry_.add(with_nchw(std::move(row), *runtime_, cache_));
    registry_.add(winograd_nonfused_row(registry_, *runtime_, cache_));
    for (KernelRow& row : parts.vendor) registry_.add(std::move(row));
  }

  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(std::size_t bytes) override { return runtime_->allocate(bytes); }
  std::unique_ptr<Queue> make_queue() override { return runtime_->make_queue(); }
  std::unique_ptr<Queue> make_queue_on(void* stream) override {
    auto queue = runtime_->make_queue_on(stream);
    return queue ? std::move(queue) : Device::make_queue_on(stream);
  }
  const Registry& registry() const override { return registry_; }
  std::vector<RoofProbe> roof_probes() override {
    if (!info_.timed) return {};
    auto probes = gpu::roof_probes(*runtime_, cache_);
    if (own_roofs_)
      for (RoofProbe& probe : own_roofs_()) probes.push_back(std::move(probe));
    return probes;
  }

 private:
  std::unique_ptr<Runtime> runtime_;  // destroyed last
  std::function<std::vector<RoofProbe>()> own_roofs_;
  KernelCache cache_;
  DeviceInfo info_;
  Registry registry_;
};

}  // namespace

std::unique_ptr<Device> make_device(DeviceParts parts) {
  return std::make_unique<GpuDevice>(std::move(parts));
}

}  // namespace metalconv::gpu
