// SPDX-License-Identifier: Apache-2.0
// The .metal files that travel inside the binary.
#include <fmt/format.h>

#include <map>
#include <optional>
#include <span>

#include "gpu/device.h"
#include "metalconv/error.h"
#include "msl/msl.h"

namespace metalconv::gpu {

std::span<const EmbeddedFile> kernel_files();  // kernels/, by CMake

namespace {

std::optional<std::string> text_of(std::string_view name) {
  for (const EmbeddedFile& file : kernel_files())
    if (file.name == name) return std::string(file.text);
  return std::nullopt;
}

std::map<std::string, Source, std::less<>> all_sources() {
  std::map<std::string, Source, std::less<>> sources;
  for (const EmbeddedFile& file : kernel_files()) {
    if (!file.name.ends_with(".metal")) continue;
    const std::string path = "kernels/" + std::string(file.name);
    sources[std::string(file.name)] = {path, msl::inline_includes(file.text, path, text_of)};
  }
  return sources;
}

}  // namespace

const Source& kernel_source(std::string_view file) {
  static const auto sources = all_sources();
  const auto found = sources.find(file);
  if (found == sources.end())
    throw Error(ErrorCode::invalid_argument, fmt::format("there is no kernel file '{}'", file));
  return found->second;
}

}  // namespace metalconv::gpu
