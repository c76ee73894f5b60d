// SPDX-License-Identifier: Apache-2.0
#include "emulator/host_compiler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>
#include <sstream>

#include "emulator/process.h"
#include "metalconv/error.h"

namespace metalconv::emulator {
namespace {

std::vector<std::string> candidates(const std::string& program) {
  if (!program.empty()) return {program};
  // Sanitizers differ between compilers: an instrumented kernel needs ours.
  if (!std::string_view(METALCONV_KERNEL_SANITIZERS).empty()) return {METALCONV_BUILD_COMPILER};
  return {METALCONV_BUILD_COMPILER, "c++", "g++", "clang++"};
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

/// Which instructions -march=native means here; empty where Linux does not tell.
std::string cpu_flags() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("flags") || line.starts_with("Features")) return line;
  return {};
}

std::vector<std::string> compiler_flags() {
  std::vector<std::string> flags = {
      "-std=c++20", "-shared", "-fPIC", "-fvisibility=hidden", "-w", "-march=native",
      "-fno-exceptions", "-fno-rtti",
      // Floats as Metal's safe math mode has them: each operation rounds, none is joined.
      "-ffp-contract=off", "-fno-math-errno",
      // Kernels read scalars as vectors, and the other way round.
      "-fno-strict-aliasing",
      // Never-written variables hold a pattern (a NaN or a huge number), not what was there before.
      "-ftrivial-auto-var-init=pattern"};
  const auto sanitizers = words(METALCONV_KERNEL_SANITIZERS);
  flags.push_back(sanitizers.empty() ? "-O2" : "-O1");
  if (!sanitizers.empty()) flags.push_back("-g");  // reports name lines
  flags.insert(flags.end(), sanitizers.begin(), sanitizers.end());
  return flags;
}

}  // namespace

HostCompiler::HostCompiler(const std::string& program) {
  const auto tried = candidates(program);
  for (const std::string& candidate : tried) {
    const ProcessResult version = run_process({candidate, "--version"});
    if (!version.started || version.status != 0) continue;
    program_ = candidate;
    flags_ = compiler_flags();
    identity_ = fmt::format("{}\n{}\n{}\n{}", program_, version.output, fmt::join(flags_, " "),
                            cpu_flags());
    return;
  }
  throw Error(
      ErrorCode::device,
      fmt::format("the emulator compiles kernels with a C++ compiler, and found none: tried "
                  "{}; install one (Debian: g++)",
                  fmt::join(tried, ", ")));
}

void HostCompiler::compile(const std::filesystem::path& source,
                           const std::filesystem::path& object) const {
  std::vector<std::string> command = {program_};
  command.insert(command.end(), flags_.begin(), flags_.end());
  command.insert(command.end(),
                 {"-I", source.parent_path().string(), source.string(), "-o", object.string()});
  const ProcessResult result = run_process(command);
  if (result.status != 0)
    throw Error(ErrorCode::device, fmt::format("{} failed on a kernel for the emulator:\n{}",
                                               program_, result.output));
}

}  // namespace metalconv::emulator
