// SPDX-License-Identifier: Apache-2.0
// NVRTC where it is installed: what the CUDA translation becomes there. No GPU needed.
#pragma once

#include <string>
#include <vector>

namespace metalconv::test {

class Nvrtc {
 public:
  struct Result {
    bool ok = false;
    std::string log;
  };

  Nvrtc();
  bool found() const { return library_ != nullptr; }
  /// A translation by msl::to_cuda, with options like "--gpu-architecture=sm_90" and "-DELEM=half".
  Result compile(const std::string& text, std::vector<std::string> options) const;

 private:
  template <class Function>
  void load(Function*& function, const char* name);

  void* library_ = nullptr;
  int (*create_)(void**, const char*, const char*, int, const char* const*,
                 const char* const*) = nullptr;
  int (*compile_)(void*, int, const char* const*) = nullptr;
  int (*log_size_)(void*, std::size_t*) = nullptr;
  int (*log_)(void*, char*) = nullptr;
  int (*destroy_)(void**) = nullptr;
};

/// Empty when every "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" of a log says
/// 0, and there is one; else what is wrong.
std::string local_memory(const std::string& log);

}  // namespace metalconv::test
