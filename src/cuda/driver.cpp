// SPDX-License-Identifier: Apache-2.0
#include "cuda/driver.h"

#include <fmt/format.h>

#include <array>

#include "metalconv/error.h"

namespace metalconv::cuda {
namespace {

Library open_driver(const Places& places) {
  Library library = Library::open({"libcuda.so.1"}, places);
  if (library) return library;
  throw Error(ErrorCode::device,
              library.failure().empty()
                  ? "no NVIDIA driver: libcuda.so.1 was not found"
                  : fmt::format("the NVIDIA driver does not load: {}", library.failure()));
}

/// Devices after cuInit, or its failure as an Error.
int initialised_devices(const Driver& driver) {
  driver.call(driver.init, 0u);
  int count = 0;
  driver.call(driver.device_count, &count);
  return count;
}

}  // namespace

Driver::Driver(const Places& places) : library_(open_driver(places)) {}

std::string Driver::describe(int code) const {
  const char* name = nullptr;
  const char* words = nullptr;
  if (error_name(code, &name) != kSuccess || error_string(code, &words) != kSuccess)
    return fmt::format("CUDA error {}", code);
  return fmt::format("{} ({})", name, words);
}

void Driver::fail(const std::string& what, int code) const {
  throw Error(ErrorCode::device, fmt::format("{} failed: {}", what, describe(code)));
}

Context::Context(int ordinal, const Places& places) : driver_(places) {
  const int count = initialised_devices(driver_);
  if (count == 0) throw Error(ErrorCode::device, "the NVIDIA driver sees no device");
  if (ordinal < 0 || ordinal >= count)
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("the CUDA device's ordinal is {}, but must be 0 to {}", ordinal, count - 1));
  driver_.call(driver_.device_get, &device_, ordinal);
  driver_.call(driver_.context_retain, &handle_, device_);
}

Context::~Context() { driver_.context_release(device_); }

int Context::attribute(Attribute attribute) const {
  int value = 0;
  driver_.call(driver_.device_attribute, &value, attribute, device_);
  return value;
}

std::string Context::model() const {
  std::array<char, 256> name{};
  driver_.call(driver_.device_name, name.data(), int(name.size()), device_);
  return name.data();
}

std::size_t Context::memory_bytes() const {
  std::size_t bytes = 0;
  driver_.call(driver_.device_memory, &bytes, device_);
  return bytes;
}

int Context::driver_version() const {
  int version = 0;
  driver_.call(driver_.driver_version, &version);
  return version;
}

int Context::capability() const {
  return attribute(Attribute::capability_major) * 10 + attribute(Attribute::capability_minor);
}

int count_devices(const Places& places) try {
  return initialised_devices(Driver(places));
} catch (const Error&) {
  return 0;
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace metalconv::cuda
