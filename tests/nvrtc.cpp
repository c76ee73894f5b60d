// SPDX-License-Identifier: Apache-2.0
#include "nvrtc.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <regex>

#include "msl/msl.h"

namespace metalconv::test {

template <class Function>
void Nvrtc::load(Function*& function, const char* name) {
  function = reinterpret_cast<Function*>(dlsym(library_, name));
  EXPECT_NE(function, nullptr) << name;
}

Nvrtc::Nvrtc() {
  for (const char* name :
       {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so.13",
        "/usr/local/cuda/lib64/libnvrtc.so"}) {
    if (library_ == nullptr) library_ = dlopen(name, RTLD_NOW);
  }
  if (library_ == nullptr) return;
  load(create_, "nvrtcCreateProgram");
  load(compile_, "nvrtcCompileProgram");
  load(log_size_, "nvrtcGetProgramLogSize");
  load(log_, "nvrtcGetProgramLog");
  load(destroy_, "nvrtcDestroyProgram");
}

Nvrtc::Result Nvrtc::compile(const std::string& text, std::vector<std::string> options) const {
  std::vector<const char*> names, headers, words;
  std::vector<std::string> owned;
  for (const EmbeddedFile& h : msl::cuda_headers()) {
    owned.emplace_back(h.name);
    owned.emplace_back(h.text);
  }
  for (std::size_t i = 0; i < owned.size(); i += 2) {
    names.push_back(owned[i].c_str());
    headers.push_back(owned[i + 1].c_str());
  }
  options.insert(options.end(), {"--std=c++20", "--device-as-default-execution-space",
                                 "--ptxas-options=-v", "--ptxas-options=--warn-on-spills"});
  for (const std::string& option : options) words.push_back(option.c_str());
  void* program = nullptr;
  create_(&program, text.c_str(), "kernel.cu", int(names.size()), headers.data(), names.data());
  Result result;
  result.ok = compile_(program, int(words.size()), words.data()) == 0;
  std::size_t size = 0;
  log_size_(program, &size);
  result.log.resize(size);
  log_(program, result.log.data());
  destroy_(&program);
  return result;
}

std::string local_memory(const std::string& log) {
  static const std::regex kUse(
      R"((\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)");
  const std::sregex_iterator begin(log.begin(), log.end(), kUse), end;
  if (begin == end) return "the compiler does not say what memory it uses";
  for (auto use = begin; use != end; ++use)
    if (use->str(1) + use->str(2) + use->str(3) != "000") return use->str(0);
  return {};
}

}  // namespace metalconv::test
