// SPDX-License-Identifier: Apache-2.0
#include "cuda/library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "metalconv/error.h"

namespace metalconv::cuda {
namespace {

namespace fs = std::filesystem;

/// `path` as a pattern that matches itself alone.
std::string escaped(const fs::path& path) {
  std::string out;
  for (char c : path.string()) {
    if (std::string_view("*?[\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ':');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

class Folders {
 public:
  /// Those that exist under `base`, the highest version first; `pattern` may hold '*'.
  void add(const fs::path& base, const std::string& pattern) {
    glob_t found{};
    std::vector<std::string> matches;
    const std::string full = escaped(base) + (pattern.empty() ? "" : "/" + pattern);
    if (glob(full.c_str(), GLOB_ONLYDIR, nullptr, &found) == 0)
      matches.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    globfree(&found);
    std::sort(matches.rbegin(), matches.rend());
    for (const std::string& match : matches) {
      std::error_code error;
      const bool known = std::find(paths_.begin(), paths_.end(), match) != paths_.end();
      if (!known && fs::is_directory(match, error)) paths_.emplace_back(match);
    }
  }

  /// Where pip puts NVIDIA's wheels, and older wheels of PyTorch their own copies.
  void add_python(const fs::path& prefix, const std::string& pattern = {}) {
    const std::string head = pattern.empty() ? "" : pattern + "/";
    for (const char* packages : {"lib/python3*/site-packages", "lib/python3*/dist-packages"}) {
      add(prefix, head + packages + "/nvidia/*/lib");
      add(prefix, head + packages + "/torch/lib");
    }
  }

  std::vector<fs::path> take() { return std::move(paths_); }

 private:
  std::vector<fs::path> paths_;
};

std::vector<fs::path> folders_before(const Variables& variables, const fs::path& program) {
  Folders folders;
  for (const std::string& path : split(variables("METALCONV_CUDA_PATH")))
    for (const char* part : {"", "lib64", "lib"}) folders.add(path, part);
  if (!program.empty())
    for (const char* part : {"", "../lib"}) folders.add(program.parent_path(), part);
  return folders.take();
}

std::vector<fs::path> folders_after(const Variables& variables, const fs::path& root) {
  Folders folders;
  for (const char* pattern : {"usr/local/nvidia/lib64", "usr/lib/wsl/lib", "usr/local/cuda*/lib64",
                              "usr/local/cuda*/targets/*/lib", "usr/local/cuda*/lib"})
    folders.add(root, pattern);
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    const std::string prefix = variables(name);
    if (prefix.empty()) continue;
    folders.add_python(prefix);
    folders.add(prefix, "lib");
  }
  for (const std::string& path : split(variables("PATH"))) {
    std::error_code error;
    if (fs::exists(fs::path(path) / "python3", error))
      folders.add_python(fs::path(path).parent_path());
  }
  if (const std::string home = variables("HOME"); !home.empty()) folders.add_python(home, ".local");
  for (const char* prefix : {"usr", "usr/local", "opt/*", "opt/*/.venv", "opt/*/venv"})
    folders.add_python(root, prefix);
  return folders.take();
}

}  // namespace

Places find_places(const Variables& variables, const fs::path& program, const fs::path& root) {
  return {folders_before(variables, program), true, folders_after(variables, root)};
}

Places this_process_places() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  std::error_code error;
  return find_places(variable, fs::read_symlink("/proc/self/exe", error));
}

bool Library::try_open(const std::string& file) {
  handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  return handle_ != nullptr;
}

Library Library::open(const std::vector<std::string>& names, const Places& places) {
  Library library;
  const auto in_folders = [&](const std::vector<fs::path>& folders) {
    for (const fs::path& folder : folders) {
      for (const std::string& name : names) {
        std::error_code error;
        const fs::path file = folder / name;
        if (!fs::exists(file, error)) continue;
        if (library.try_open(file.string())) return true;
        library.failure_ = dlerror();
      }
    }
    return false;
  };
  const auto by_loader = [&] {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return library.try_open(name); });
  };
  if (!in_folders(places.before) && !(places.loader && by_loader())) in_folders(places.after);
  return library;
}

void* Library::find(const char* symbol) const { return handle_ ? dlsym(handle_, symbol) : nullptr; }

fs::path Library::folder(const char* symbol) const {
  Dl_info info{};
  void* address = find(symbol);
  if (!address || !dladdr(address, &info)) return {};
  std::error_code error;
  const fs::path real = fs::canonical(info.dli_fname, error);
  return (error ? fs::path(info.dli_fname) : real).parent_path();
}

void fail_missing(const char* symbol) {
  throw Error(
      ErrorCode::device,
      fmt::format("the installed NVIDIA library has no function '{}'; a newer one is needed",
                  symbol));
}

}  // namespace metalconv::cuda
