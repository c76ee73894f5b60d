// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries, opened at run time where they are found. Nothing of the toolkit is needed to
// build, and one binary runs with and without them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace metalconv::cuda {

/// Folders to look into for a library, before and after the loader's own search.
struct Places {
  std::vector<std::filesystem::path> before;
  bool loader = true;
  std::vector<std::filesystem::path> after;
};

/// The value of an environment variable, empty when it is not set.
using Variables = std::function<std::string(const char* name)>;

/// Before: METALCONV_CUDA_PATH (folders joined by ':', and their lib64 and lib), the program's
/// folder and the lib beside it. After: CUDA toolkits, and Python environments that hold NVIDIA's
/// wheels or a PyTorch with libraries of its own: the active one, those of PATH, those under /usr
/// and /opt. `program` may be empty. Folders that do not exist are left out.
Places find_places(const Variables& variables, const std::filesystem::path& program,
                   const std::filesystem::path& root = "/");

/// The same for this process.
Places this_process_places();

/// A shared library. It stays loaded until the process ends: NVIDIA's libraries keep threads and
/// exit handlers of their own.
class Library {
 public:
  /// The first of `names` that opens; at each place all names are tried in order. Empty when none
  /// does.
  static Library open(const std::vector<std::string>& names, const Places& places);

  explicit operator bool() const { return handle_ != nullptr; }
  /// The loader's words on a file that was found and did not open; empty when none was found.
  const std::string& failure() const { return failure_; }
  /// Null when there is no such symbol.
  void* find(const char* symbol) const;
  /// The folder of the file that holds `symbol`.
  std::filesystem::path folder(const char* symbol) const;

 private:
  bool try_open(const std::string& file);

  void* handle_ = nullptr;
  std::string failure_;
};

/// Throws Error{device}: the library is too old to have `symbol`.
[[noreturn]] void fail_missing(const char* symbol);

template <class Signature>
class Function;

/// A C function of a library: `Function<int(float*)> f{library, "name"}`.
template <class Result, class... Arguments>
class Function<Result(Arguments...)> {
 public:
  /// Throws Error{device} when the library has no such function.
  Function(const Library& library, const char* name)
      : name_(name), call_(reinterpret_cast<Result (*)(Arguments...)>(library.find(name))) {
    if (!call_) fail_missing(name);
  }
  Result operator()(Arguments... arguments) const { return call_(arguments...); }
  const char* name() const { return name_; }

 private:
  const char* name_;
  Result (*call_)(Arguments...);
};

}  // namespace metalconv::cuda
