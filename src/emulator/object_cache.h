// SPDX-License-Identifier: Apache-2.0
// Compiled kernels on disk, so that the second start of a program compiles nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace metalconv::emulator {

class ObjectCache {
 public:
  static constexpr std::size_t kMaxFiles = 512;
  static constexpr std::uintmax_t kMaxBytes = std::uintmax_t(256) << 20;

  /// Empty: metalconv/emulator in XDG_CACHE_HOME or ~/.cache. Where that cannot be written, a
  /// folder of this process, removed with the cache.
  explicit ObjectCache(std::filesystem::path folder);
  ~ObjectCache();
  ObjectCache(const ObjectCache&) = delete;
  ObjectCache& operator=(const ObjectCache&) = delete;

  /// Makes the object in an empty scratch folder, at the path given.
  using Make = std::function<void(const std::filesystem::path& object)>;

  /// The object for `key`, the whole text that decides it; made when it is not there. Several
  /// processes may share the folder: an object appears whole or not at all.
  std::filesystem::path get(const std::string& key, const Make& make) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  void trim(const std::filesystem::path& keep) const;

  std::filesystem::path folder_;
  bool temporary_ = false;
};

}  // namespace metalconv::emulator
