// SPDX-License-Identifier: Apache-2.0
// `conv`: one convolution on NumPy files.
#pragma once

#include <string>

#include "metalconv/device.h"
#include "metalconv/wisdom.h"

namespace metalconv::cli {

/// The command line of `conv`, as it was typed.
struct ConvOptions {
  std::string input, weights, bias, output;  ///< paths; no bias when empty
  std::string stride = "1", padding = "0", dilation = "1", groups = "1";
  std::string activation = "none", layout = "nchw", implementation = "optimized";
};

/// Run the convolution, by the kernel that `wisdom`, `shipped` or the estimate chooses, and write
/// the output file. Returns a line on what was done. Throws Error for malformed files, options that
/// do not fit them, and memory that does not suffice, each before anything of that size is
/// allocated.
///
/// f16 files on a device without an f16 kernel for the problem are computed in f32 and rounded once
/// at the end, which is what an f16 kernel does: it accumulates in f32, too.
std::string convolve_files(Device& device, const ConvOptions& options, const Wisdom& wisdom = {},
                           std::span<const Wisdom> shipped = {});

}  // namespace metalconv::cli
