// SPDX-License-Identifier: Apache-2.0
// The C ABI between the CPU device (vendor.cpp) and a oneDNN module (vendor_onednn.cpp), which is
// opened at run time so that one binary runs with and without oneDNN. Both sides come from one
// build; kVendorAbi catches a module that was left over from another one. No exception crosses:
// a function returns true, or false with a sentence in its last argument.
#pragma once

#include <cstddef>

#include "metalconv/problem.h"

namespace metalconv::cpu {

inline constexpr int kVendorAbi = 1;
inline constexpr const char* kVendorEntry = "metalconv_vendor_api";

struct VendorMessage {
  char text[1024];
};

struct VendorRequest {
  ConvProblem problem;       ///< f32, ieee, N at least 1
  std::int64_t P, Q;         ///< its output rows and columns
  std::size_t memory_limit;  ///< bytes of workspace and packed weights that are too many
  double seconds;            ///< for finding the fastest way; 0: take the first
};

/// A problem with the way chosen to run it; immutable.
struct VendorPlan;

struct VendorFacts {
  std::size_t packed_bytes, workspace_bytes;
  const char* detail;  ///< lives as long as the plan
};

struct VendorApi {
  int abi;              ///< kVendorAbi of the module
  const char* version;  ///< of the oneDNN that was loaded: "2.6.3"
  const char* isa;      ///< "avx512", "avx2", "avx", "sse4", or "" where it cannot be told
  /// False with the reason when oneDNN has nothing but its reference code for the problem.
  bool (*supports)(const VendorRequest* request, VendorMessage* reason);
  bool (*plan)(const VendorRequest* request, VendorPlan** plan, VendorMessage* failure);
  void (*destroy)(VendorPlan* plan);
  VendorFacts (*facts)(const VendorPlan* plan);
  /// `w` is K, C/groups, R, S; `packed` and `workspace` have the bytes that facts() tells.
  bool (*pack)(const VendorPlan* plan, const float* w, void* packed, VendorMessage* failure);
  bool (*execute)(const VendorPlan* plan, const float* x, const void* packed, const float* bias,
                  float* y, void* workspace, VendorMessage* failure);
};

/// Type of the one symbol that a module exports. The first call in a process limits oneDNN to `isa`
/// ("avx2", "sse4"; others: no limit); it cannot be changed after that.
using VendorEntry = const VendorApi*(const char* isa);

}  // namespace metalconv::cpu
