// SPDX-License-Identifier: Apache-2.0
#include "cuda/cudnn.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "metalconv/error.h"

namespace metalconv::cuda::cudnn {
namespace {

Library open_cudnn(const Places& places) {
  Library library = Library::open({"libcudnn.so.9"}, places);
  if (library) return library;
  throw Error(ErrorCode::device, library.failure().empty()
                                     ? "no cuDNN: libcudnn.so.9 was not found"
                                     : fmt::format("cuDNN does not load: {}", library.failure()));
}

}  // namespace

Api::Api(const Places& places) : library_(open_cudnn(places)) {}

void Api::fail(const char* function, int status) const {
  std::array<char, 512> message{};
  last_error(message.data(), message.size());
  message.back() = '\0';
  throw Error(ErrorCode::device, fmt::format("{} failed: {}{}{}", function, error_string(status),
                                             message[0] ? ", " : "", message.data()));
}

std::string Api::version() const {
  const std::size_t v = get_version();
  return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

Descriptor::Descriptor(const Api& api, DescriptorType type) : api_(&api) {
  api.call(api.backend_create, type, &raw_);
}
Descriptor::~Descriptor() {
  if (raw_) api_->backend_destroy(raw_);
}
Descriptor::Descriptor(Descriptor&& other) noexcept
    : api_(other.api_), raw_(std::exchange(other.raw_, nullptr)) {}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(raw_, other.raw_);
  return *this;
}

void Descriptor::set_raw(Attribute attribute, ElementType type, std::size_t count,
                         const void* values) {
  api_->call(api_->backend_set, raw_, attribute, type, std::int64_t(count), values);
}

void Descriptor::set(Attribute attribute, std::span<const std::int64_t> values) {
  set_raw(attribute, ElementType::int64, values.size(), values.data());
}
void Descriptor::set(Attribute attribute, bool value) {
  set_raw(attribute, ElementType::boolean, 1, &value);
}
void Descriptor::set(Attribute attribute, float value) {
  set_raw(attribute, ElementType::float32, 1, &value);
}
void Descriptor::set(Attribute attribute, double value) {
  set_raw(attribute, ElementType::float64, 1, &value);
}
void Descriptor::set(Attribute attribute, DataType value) {
  set_raw(attribute, ElementType::data_type, 1, &value);
}
void Descriptor::set(Attribute attribute, ConvolutionMode value) {
  set_raw(attribute, ElementType::convolution_mode, 1, &value);
}
void Descriptor::set(Attribute attribute, PointwiseMode value) {
  set_raw(attribute, ElementType::pointwise_mode, 1, &value);
}
void Descriptor::set(Attribute attribute, HeuristicMode value) {
  set_raw(attribute, ElementType::heuristic_mode, 1, &value);
}
void Descriptor::set(Attribute attribute, const Descriptor& value) {
  set_raw(attribute, ElementType::descriptor, 1, &value.raw_);
}
void Descriptor::set(Attribute attribute, const std::vector<Descriptor>& values) {
  std::vector<RawDescriptor> raw;
  for (const Descriptor& value : values) raw.push_back(value.raw_);
  set_raw(attribute, ElementType::descriptor, raw.size(), raw.data());
}
void Descriptor::set(Attribute attribute, const std::string& text) {
  set_raw(attribute, ElementType::character, text.size(), text.data());
}
void Descriptor::set_handle(Attribute attribute, RawHandle value) {
  set_raw(attribute, ElementType::handle, 1, &value);
}
void Descriptor::set_pointers(Attribute attribute, std::span<void* const> values) {
  set_raw(attribute, ElementType::pointer, values.size(), values.data());
}

void Descriptor::finalize() { api_->call(api_->backend_finalize, raw_); }

std::size_t Descriptor::get_raw(Attribute attribute, ElementType type, std::size_t most,
                                void* values) const {
  std::int64_t count = 0;
  api_->call(api_->backend_get, raw_, attribute, type, std::int64_t(most), &count, values);
  return std::size_t(count);
}

std::int64_t Descriptor::get_int64(Attribute attribute) const {
  std::int64_t value = 0;
  get_raw(attribute, ElementType::int64, 1, &value);
  return value;
}

std::vector<NumericalNote> Descriptor::get_notes() const {
  std::vector<NumericalNote> notes(kMaxNotes);
  notes.resize(
      get_raw(Attribute::engine_notes, ElementType::numerical_note, kMaxNotes, notes.data()));
  return notes;
}

Knob Descriptor::get_knob_type() const {
  Knob type{};
  get_raw(Attribute::knob_type, ElementType::knob_type, 1, &type);
  return type;
}

std::size_t Descriptor::count(Attribute attribute) const {
  return get_raw(attribute, ElementType::descriptor, 0, nullptr);
}

Descriptor Descriptor::get_descriptor(Attribute attribute, DescriptorType type) const {
  Descriptor held(*api_, type);
  get_raw(attribute, ElementType::descriptor, 1, &held.raw_);
  return held;
}

std::vector<Descriptor> Descriptor::get_descriptors(Attribute attribute, DescriptorType type,
                                                    std::size_t most) const {
  std::vector<Descriptor> held;
  std::vector<RawDescriptor> raw;
  for (std::size_t i = 0; i < most; ++i) raw.push_back(held.emplace_back(*api_, type).raw_);
  const std::size_t count = get_raw(attribute, ElementType::descriptor, most, raw.data());
  while (held.size() > count) held.pop_back();  // fewer than asked for
  return held;
}

Target::Target(const Api& api, const std::string& device_json) : api_(api) {
  Descriptor& device = device_.emplace_back(api, DescriptorType::device_properties);
  device.set(Attribute::device_json, device_json);
  device.finalize();
}

void Target::enter_graph(Descriptor& graph) const {
  if (device_.empty()) graph.set_handle(Attribute::graph_handle, handle_);
}
void Target::enter_engine(Descriptor& engine) const {
  if (!device_.empty()) engine.set(Attribute::engine_device, device_.front());
}
void Target::enter_heuristics(Descriptor& heuristics) const {
  if (!device_.empty()) heuristics.set(Attribute::heuristics_device, device_.front());
}
void Target::enter_plan(Descriptor& plan) const {
  if (device_.empty())
    plan.set_handle(Attribute::plan_handle, handle_);
  else
    plan.set(Attribute::plan_device, device_.front());
}

}  // namespace metalconv::cuda::cudnn
