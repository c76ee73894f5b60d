// SPDX-License-Identifier: Apache-2.0
// What tests ask of the stand-in for Apple's frameworks, and can have it do.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace metalconv::standin {

/// The machine that is stood in for.
struct Machine {
  bool has_gpu = true;
  int macos = 15;
  int gpu_cores = 10;
  std::size_t longest_buffer = std::size_t(8) << 30;
  std::size_t threadgroup_bytes = 32768;
  bool out_of_memory = false;          ///< newBuffer gives nil
  std::string next_commit_fails_with;  ///< words of the error of the next command buffer
  bool graph_commits = false;          ///< MPSGraph commits while it encodes
  std::string graph_raises;            ///< the reason of the NSException of its next compilation
};
Machine& machine();

/// What the last newLibraryWithSource: was given.
struct LibraryCall {
  std::string source;
  std::map<std::string, std::string> macros;
  unsigned long language_version = 0;
  bool safe_math = false;
  bool precise_functions = false;
};
const LibraryCall& last_library_call();

/// Command buffers committed so far.
int commits();

/// "2 MTLBuffer, 1 NSString": objects that are alive; empty when there are none.
std::string live_objects();
/// Sentences on what Apple's frameworks would not have stood for since the last call: messages to
/// dead objects, encoders left open, arguments not bound ...
std::vector<std::string> take_misuses();
/// Frees the memory of dead objects, to which nobody may point any more.
void forget_dead();

}  // namespace metalconv::standin
