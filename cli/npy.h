// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy files: f32 and f16 arrays in C order, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "metalconv/problem.h"

namespace metalconv::cli {

using Shape = std::vector<std::int64_t>;

struct NpyHeader {
  DType dtype = DType::f32;
  Shape shape;
  std::size_t header_bytes = 0;  ///< where the data begins
  std::size_t data_bytes = 0;    ///< its size, by dtype and shape
};

/// The longest header that is read, as in NumPy's format 1.0. Real ones take 128 bytes.
inline constexpr std::size_t kMaxNpyHeaderBytes = 10 + 65535;

/// Parse a header of format 1.0, 2.0 or 3.0. `start` is the file's beginning: all of it, or
/// kMaxNpyHeaderBytes. The size of the file is for the caller to compare. Throws Error{io} with a
/// sentence on what is wrong.
NpyHeader parse_npy_header(std::string_view start);

/// "1x3x600x800"; "a single number" for no dimensions.
std::string shape_text(const Shape& shape);

/// Write an array of format 1.0, whole or not at all. Throws Error{io} that names the path.
void write_npy(const std::string& path, DType dtype, const Shape& shape,
               const std::vector<std::byte>& data);

/// An open .npy file whose size is exactly what its header promises. Reads nothing but the header
/// until asked to. Throws Error{io} that names the path.
class NpyFile {
 public:
  explicit NpyFile(const std::string& path);

  const std::string& path() const { return path_; }
  const NpyHeader& header() const { return header_; }
  std::vector<std::byte> read();

 private:
  std::string path_;
  std::ifstream stream_;
  NpyHeader header_;
};

}  // namespace metalconv::cli
