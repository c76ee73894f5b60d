// SPDX-License-Identifier: Apache-2.0
#include "cuda/session.h"

#include <fmt/format.h>

#include <cstdint>

#include "metalconv/error.h"

namespace metalconv::cuda::cudnn {
namespace {

/// Some engines open cuBLASLt by its bare name, which works where it is loaded already.
void load_matrix_library(const Places& places, int driver_version) {
  Library::open({fmt::format("libcublasLt.so.{}", driver_version / 1000)}, places);
}

}  // namespace

Session::Session(std::shared_ptr<const Context> context, const Places& places)
    : context_(std::move(context)), places_(places), api_(places) {}

Session::~Session() {
  if (handle_) context_->release([this](const Driver&) { api_.destroy(handle_); });
}

void Session::start() {
  if (handle_) return;
  load_matrix_library(places_, context_->driver_version());
  api_.call(api_.create, &handle_);
}

void Session::use(Handle stream) {
  start();
  if (stream == stream_) return;
  api_.call(api_.set_stream, handle_, stream);
  stream_ = stream;
}

void Session::execute(Handle stream, const Descriptor& plan, const Descriptor& pack) {
  const Current current(*context_);
  const std::lock_guard lock(mutex_);
  use(stream);
  api_.call(api_.backend_execute, handle_, plan.raw(), pack.raw());
}

void Session::transform(Handle stream, RawDescriptor x_type, const void* x, RawDescriptor y_type,
                        void* y) {
  const Current current(*context_);
  const std::lock_guard lock(mutex_);
  use(stream);
  const float one = 1, zero = 0;
  api_.call(api_.transform, handle_, static_cast<const void*>(&one), x_type, x,
            static_cast<const void*>(&zero), y_type, y);
}

Conversion::Conversion(const Api& api, DType dtype, const std::array<std::int64_t, 4>& sizes,
                       Layout from, Layout to)
    : from_(make_type(api, dtype, sizes, from)), to_(make_type(api, dtype, sizes, to)) {}

Conversion::Type Conversion::make_type(const Api& api, DType dtype,
                                       const std::array<std::int64_t, 4>& sizes, Layout layout) {
  if (sizes[0] * sizes[1] * sizes[2] * sizes[3] > INT32_MAX)
    throw Error(ErrorCode::unsupported,
                fmt::format("a tensor of {} is beyond the 2^31 elements that cuDNN converts",
                            fmt::join(sizes, "x")));
  RawDescriptor raw = nullptr;
  api.call(api.tensor_create, &raw);
  Type type(raw, api.tensor_destroy);
  const auto s = strides(sizes, layout);
  api.call(api.tensor_set, raw, data_type(dtype), int(sizes[0]), int(sizes[1]), int(sizes[2]),
           int(sizes[3]), int(s[0]), int(s[1]), int(s[2]), int(s[3]));
  return type;
}

void Conversion::enqueue(Session& session, Handle stream, const void* x, void* y) const {
  session.transform(stream, from_.get(), x, to_.get(), y);
}

}  // namespace metalconv::cuda::cudnn
