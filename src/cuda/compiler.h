// SPDX-License-Identifier: Apache-2.0
// NVRTC: CUDA C++ to machine code at run time.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cuda/library.h"
#include "gpu/runtime.h"

namespace metalconv::cuda {

/// May be called from several threads.
class Compiler {
 public:
  /// The newest NVRTC that the driver (13000 for CUDA 13.0) can run the code of, else any. Throws
  /// Error{device} when none is found.
  Compiler(const Places& places, int driver_version);

  int version() const { return version_; }  ///< 13000 for NVRTC 13.0

  /// What cuModuleLoadData takes: machine code for the capability (90 for sm_90), or PTX when this
  /// NVRTC knows no such device. `own`: with the instructions that this generation alone has
  /// (sm_90a). Throws Error{device} with the compiler's log.
  std::vector<char> compile(const gpu::Source& cuda_text, const gpu::Macros& macros, int capability,
                            bool own = false) const;

  /// Of its options, the one that names the device: "--gpu-architecture=sm_90".
  std::string architecture(int capability) const;

 private:
  using Program = void*;
  struct Held;
  void check(int code, const char* what) const;
  std::string log(Program program) const;
  std::vector<int> known_architectures() const;

  Library library_;
  Function<int(int*, int*)> get_version_{library_, "nvrtcVersion"};
  Function<const char*(int)> error_string_{library_, "nvrtcGetErrorString"};
  Function<int(int*)> arch_count_{library_, "nvrtcGetNumSupportedArchs"};
  Function<int(int*)> archs_{library_, "nvrtcGetSupportedArchs"};
  /// program; text; name; headers: their number, texts and names
  Function<int(Program*, const char*, const char*, int, const char* const*, const char* const*)>
      create_{library_, "nvrtcCreateProgram"};
  Function<int(Program, int, const char* const*)> compile_{library_, "nvrtcCompileProgram"};
  Function<int(Program*)> destroy_{library_, "nvrtcDestroyProgram"};
  Function<int(Program, std::size_t*)> log_size_{library_, "nvrtcGetProgramLogSize"};
  Function<int(Program, char*)> log_{library_, "nvrtcGetProgramLog"};
  Function<int(Program, std::size_t*)> cubin_size_{library_, "nvrtcGetCUBINSize"};
  Function<int(Program, char*)> cubin_{library_, "nvrtcGetCUBIN"};
  Function<int(Program, std::size_t*)> ptx_size_{library_, "nvrtcGetPTXSize"};
  Function<int(Program, char*)> ptx_{library_, "nvrtcGetPTX"};
  int version_ = 0;
};

}  // namespace metalconv::cuda
