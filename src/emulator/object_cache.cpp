// SPDX-License-Identifier: Apache-2.0
#include "emulator/object_cache.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cerrno>
#include <system_error>
#include <vector>

#include "metalconv/error.h"

namespace metalconv::emulator {

namespace fs = std::filesystem;

namespace {

/// An empty folder of our own inside `parent`.
fs::path make_scratch(const fs::path& parent) {
  std::string name = (parent / "scratch-XXXXXX").string();
  if (!mkdtemp(name.data()))
    throw Error(ErrorCode::io, "the emulator cannot write its compiled kernels to " +
                                   parent.string() + ": " + std::generic_category().message(errno));
  return name;
}

class Scratch {
 public:
  explicit Scratch(const fs::path& parent) : folder_(make_scratch(parent)) {}
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
};

fs::path default_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache == '/') return fs::path(cache) / "metalconv" / "emulator";
  const char* home = std::getenv("HOME");
  if (home && *home == '/') return fs::path(home) / ".cache" / "metalconv" / "emulator";
  return {};
}

bool usable(const fs::path& folder) {
  if (folder.empty()) return false;
  std::error_code error;
  fs::create_directories(folder, error);
  return !error && access(folder.c_str(), W_OK | X_OK) == 0;
}

std::string file_name(const std::string& key) {
  static const boost::uuids::name_generator_sha1 kGenerator{boost::uuids::ns::oid()};
  return boost::uuids::to_string(kGenerator(key)) + ".so";
}

struct Entry {
  fs::path path;
  fs::file_time_type used;
  std::uintmax_t bytes;
};

/// Objects in the folder, those used last in front. Others may remove them meanwhile.
std::vector<Entry> entries(const fs::path& folder) {
  std::vector<Entry> found;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    if (file.path().extension() != ".so") continue;
    const auto used = file.last_write_time(error);
    const auto bytes = file.file_size(error);
    if (!error) found.push_back({file.path(), used, bytes});
  }
  std::sort(found.begin(), found.end(),
            [](const Entry& a, const Entry& b) { return a.used > b.used; });
  return found;
}

}  // namespace

ObjectCache::ObjectCache(fs::path folder)
    : folder_(folder.empty() ? default_folder() : std::move(folder)) {
  if (usable(folder_)) return;
  folder_ = make_scratch(fs::temp_directory_path());
  temporary_ = true;
}

ObjectCache::~ObjectCache() {
  std::error_code ignored;
  if (temporary_) fs::remove_all(folder_, ignored);
}

fs::path ObjectCache::get(const std::string& key, const Make& make) const {
  fs::path object = folder_ / file_name(key);
  std::error_code missing;
  fs::last_write_time(object, fs::file_time_type::clock::now(), missing);  // used now
  if (!missing) return object;
  const Scratch scratch(folder_);
  const fs::path made = scratch.folder() / "kernel.so";
  make(made);
  fs::rename(made, object);
  trim(object);
  return object;
}

/// Removes what was not used for longest. A program that has an object open keeps it.
void ObjectCache::trim(const fs::path& keep) const {
  std::uintmax_t bytes = 0;
  std::size_t files = 0;
  for (const Entry& entry : entries(folder_)) {
    bytes += entry.bytes;
    std::error_code ignored;
    if ((++files > kMaxFiles || bytes > kMaxBytes) && entry.path != keep)
      fs::remove(entry.path, ignored);
  }
}

}  // namespace metalconv::emulator
