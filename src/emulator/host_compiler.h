// SPDX-License-Identifier: Apache-2.0
// The system's C++ compiler, which the emulator uses as CUDA uses NVRTC and Metal its own: at run
// time, because kernels are specialised by macros that depend on the problem.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace metalconv::emulator {

class HostCompiler {
 public:
  /// `program` is tried alone; empty: the compiler that built this library, then c++, g++, clang++.
  /// Throws Error{device} when there is none.
  explicit HostCompiler(const std::string& program);

  /// Everything but the source that decides what comes out: version, flags, machine.
  const std::string& identity() const { return identity_; }

  /// Writes the shared object. Throws Error{device} with the compiler's words.
  void compile(const std::filesystem::path& source, const std::filesystem::path& object) const;

 private:
  std::string program_, identity_;
  std::vector<std::string> flags_;
};

}  // namespace metalconv::emulator
