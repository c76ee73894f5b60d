// SPDX-License-Identifier: Apache-2.0
#include "cuda/compiler.h"

#include <fmt/format.h>

#include <algorithm>

#include "metalconv/error.h"
#include "msl/msl.h"

namespace metalconv::cuda {
namespace {

constexpr int kNewest = 13, kOldest = 12;  // CUDA 12 was the first with C++20

/// NVRTC's output runs on drivers of its own major version and later ones.
std::vector<std::string> library_names(int driver_major) {
  std::vector<std::string> names;
  const auto add = [&](int major) { names.push_back(fmt::format("libnvrtc.so.{}", major)); };
  const int best = std::clamp(driver_major, kOldest, kNewest);
  for (int major = best; major >= kOldest; --major) add(major);
  for (int major = best + 1; major <= kNewest; ++major) add(major);
  return names;
}

Library open_compiler(const Places& places, int driver_version) {
  const auto names = library_names(driver_version / 1000);
  Library library = Library::open(names, places);
  if (library) return library;
  throw Error(
      ErrorCode::device,
      library.failure().empty()
          ? fmt::format("no CUDA compiler: {} was not found (it is part of the CUDA toolkit, and "
                        "of the wheel nvidia-cuda-nvrtc; METALCONV_CUDA_PATH can name its folder)",
                        fmt::join(names, " or "))
          : fmt::format("the CUDA compiler NVRTC does not load: {}", library.failure()));
}

}  // namespace

/// A program that is destroyed.
struct Compiler::Held {
  const Compiler& compiler;
  Program program = nullptr;
  explicit Held(const Compiler& c) : compiler(c) {}
  ~Held() { compiler.destroy_(&program); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
};

Compiler::Compiler(const Places& places, int driver_version)
    : library_(open_compiler(places, driver_version)) {
  int major = 0, minor = 0;
  check(get_version_(&major, &minor), get_version_.name());
  version_ = major * 1000 + minor * 10;
  // NVRTC opens this one by its bare name, and finds it if it is loaded already.
  Places beside{{library_.folder("nvrtcVersion")}, false, {}};
  Library::open({fmt::format("libnvrtc-builtins.so.{}.{}", major, minor)}, beside);
}

void Compiler::check(int code, const char* what) const {
  if (code != 0)
    throw Error(ErrorCode::device, fmt::format("{} failed: {}", what, error_string_(code)));
}

std::vector<int> Compiler::known_architectures() const {
  int count = 0;
  check(arch_count_(&count), arch_count_.name());
  std::vector<int> known(std::size_t(std::max(count, 1)));
  check(archs_(known.data()), archs_.name());
  return known;
}

std::string Compiler::architecture(int capability) const {
  int machine = 0, portable = 0;  // the highest that runs on the device as code, and as PTX
  for (int arch : known_architectures()) {
    if (arch > capability) continue;
    portable = std::max(portable, arch);
    if (arch / 10 == capability / 10) machine = std::max(machine, arch);
  }
  if (portable == 0)
    throw Error(ErrorCode::device, fmt::format("NVRTC {}.{} does not compile for sm_{}",
                                               version_ / 1000, version_ % 1000 / 10, capability));
  return machine > 0 ? fmt::format("--gpu-architecture=sm_{}", machine)
                     : fmt::format("--gpu-architecture=compute_{}", portable);
}

std::string Compiler::log(Program program) const {
  std::size_t size = 0;
  if (log_size_(program, &size) != 0 || size <= 1) return {};
  std::string text(size, '\0');
  if (log_(program, text.data()) != 0) return {};
  text.resize(size - 1);  // without the closing zero
  return text;
}

std::vector<char> Compiler::compile(const gpu::Source& cuda_text, const gpu::Macros& macros,
                                    int capability, bool own) const {
  const std::string arch = architecture(capability) + (own ? "a" : "");
  // Line information costs nothing at run time and names the .metal line in NVIDIA's tools. No
  // kernel reads what it writes: stores that make way for others in the cache (cs) run direct.metal
  // 1 to 9 % faster on an H100.
  std::vector<std::string> options{"--std=c++20", "--device-as-default-execution-space",
                                   "--generate-line-info", "--ptxas-options=-dscm=cs", arch};
  for (const auto& [name, value] : macros) options.push_back(fmt::format("-D{}={}", name, value));
  std::vector<const char*> words;
  for (const std::string& option : options) words.push_back(option.c_str());
  std::vector<std::string> owned;
  for (const EmbeddedFile& header : msl::cuda_headers()) {
    owned.emplace_back(header.text);
    owned.emplace_back(header.name);
  }
  std::vector<const char*> texts, names;
  for (std::size_t i = 0; i < owned.size(); i += 2) {
    texts.push_back(owned[i].c_str());
    names.push_back(owned[i + 1].c_str());
  }

  Held held(*this);
  check(create_(&held.program, cuda_text.text.c_str(), cuda_text.file.c_str(), int(texts.size()),
                texts.data(), names.data()),
        create_.name());
  if (const int code = compile_(held.program, int(words.size()), words.data()))
    throw Error(ErrorCode::device,
                fmt::format("{} does not compile for CUDA ({}):\n{}", cuda_text.file,
                            error_string_(code), log(held.program)));
  const bool machine_code = arch.find("=sm_") != std::string::npos;
  const auto& get_size = machine_code ? cubin_size_ : ptx_size_;
  const auto& get = machine_code ? cubin_ : ptx_;
  std::size_t size = 0;
  check(get_size(held.program, &size), get_size.name());
  std::vector<char> image(size);
  check(get(held.program, image.data()), get.name());
  return image;
}

}  // namespace metalconv::cuda
