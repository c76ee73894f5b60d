// SPDX-License-Identifier: Apache-2.0
#include "cli/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>

#include "bench/files.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

using std::int64_t;
using std::size_t;
using std::string_view;

static_assert(std::endian::native == std::endian::little, "data is copied as it is in the file");

constexpr string_view kMagic = "\x93NUMPY";
/// NumPy allows 32; a convolution needs 4.
constexpr size_t kMaxDimensions = 32;

[[noreturn]] void fail(const std::string& sentence) { throw Error(ErrorCode::io, sentence); }

/// Text of a hostile file, fit to be printed: short, and ASCII only.
std::string printable(string_view text) {
  constexpr size_t kLimit = 32;
  std::string result;
  for (const char c : text.substr(0, kLimit)) {
    if (c >= ' ' && c <= '~')
      result += c;
    else
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text.size() > kLimit ? result + "..." : result;
}

size_t little_endian(string_view bytes) {
  size_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= size_t(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

DType parse_descr(string_view descr) {
  if (descr == "<f4") return DType::f32;
  if (descr == "<f2") return DType::f16;
  const std::string shown = printable(descr);
  if (descr == ">f4" || descr == ">f2")
    fail(
        fmt::format("descr is '{}', big-endian, but must be little-endian: '<f4' or '<f2'", shown));
  if (descr == "=f4" || descr == "=f2" || descr == "|f4" || descr == "|f2")
    fail(fmt::format("descr is '{}', which does not say the byte order, but must be '<f4' or '<f2'",
                     shown));
  const bool number = descr == "<f8" || descr.starts_with("<i") || descr.starts_with("<u") ||
                      descr == "|i1" || descr == "|u1";
  fail(fmt::format("descr is '{}', but must be '<f4' (float32) or '<f2' (float16){}", shown,
                   number ? ": save array.astype('float32')" : ""));
}

/// The dict literal of a header: exactly the keys descr, fortran_order and shape, in any order.
class DictParser {
 public:
  explicit DictParser(string_view text) : text_(text) {}

  NpyHeader parse() {
    expect('{');
    while (!accept('}')) {
      parse_entry();
      if (accept('}')) break;
      expect(',');
    }
    skip_space();
    if (at_ < text_.size()) fail_here("the end of the header");
    if (!dtype_) fail("the header has no 'descr'");
    if (!order_seen_) fail("the header has no 'fortran_order'");
    if (!shape_) fail("the header has no 'shape'");
    return {*dtype_, std::move(*shape_)};
  }

 private:
  void parse_entry() {
    const string_view key = parse_string();
    expect(':');
    if (key == "descr") {
      once(key, dtype_.has_value());
      dtype_ = parse_descr(parse_string());
    } else if (key == "fortran_order") {
      once(key, order_seen_);
      order_seen_ = true;
      parse_order();
    } else if (key == "shape") {
      once(key, shape_.has_value());
      shape_ = parse_shape();
    } else {
      fail(
          fmt::format("the header has the key '{}', but only descr, fortran_order and shape belong "
                      "there",
                      printable(key)));
    }
  }

  static void once(string_view key, bool seen) {
    if (seen) fail(fmt::format("the header has '{}' twice", key));
  }

  void parse_order() {
    if (accept_word("True"))
      fail("fortran_order is True, but must be False: save the array in C order");
    if (!accept_word("False")) fail_here("True or False");
  }

  Shape parse_shape() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      if (shape.size() == kMaxDimensions)
        fail(fmt::format("shape has more than {} dimensions", kMaxDimensions));
      shape.push_back(parse_size());
      if (accept(',')) continue;
      // To Python, (3) is a number and (3,) a tuple.
      if (shape.size() == 1) fail_here("a comma after the only size of a shape");
      expect(')');
      break;
    }
    return shape;
  }

  int64_t parse_size() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '-') fail("shape has a negative size");
    const char* begin = text_.data() + at_;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) fail("shape has a size over 64 bits");
    if (error != std::errc()) fail_here("a size");
    if (*begin == '0' && end - begin > 1) fail_here("a size without leading zeros");
    at_ += size_t(end - begin);
    return value;
  }

  /// Between single or double quotes, without escapes.
  string_view parse_string() {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail_here("a string in quotes");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == string_view::npos) fail("a string in the header has no closing quote");
    const string_view body = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    if (body.find('\\') != string_view::npos) fail("a string in the header has an escape sequence");
    return body;
  }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  bool accept(char wanted) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool accept_word(string_view word) {
    skip_space();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted)) fail_here(string_view(&wanted, 1));
  }

  [[noreturn]] void fail_here(string_view wanted) const {
    const string_view rest = text_.substr(at_);
    fail(fmt::format("the header has {} where {} belongs",
                     rest.empty() ? "its end" : "'" + printable(rest) + "'", wanted));
  }

  string_view text_;
  size_t at_ = 0;
  std::optional<DType> dtype_;
  std::optional<Shape> shape_;
  bool order_seen_ = false;
};

size_t checked_data_bytes(DType dtype, const Shape& shape) {
  for (const int64_t size : shape)
    if (size == 0) return 0;
  auto bytes = int64_t(size_of(dtype));
  for (const int64_t size : shape)
    if (__builtin_mul_overflow(bytes, size, &bytes))
      fail(fmt::format("shape {} has more bytes than 64 bits can count", shape_text(shape)));
  return size_t(bytes);
}

/// Of format 1.0, as NumPy writes it: the data begins at a multiple of 64 bytes.
std::string make_npy_header(DType dtype, const Shape& shape) {
  if (dtype == DType::bf16) fail("bf16 has no name in a NumPy file");
  const std::string dict =
      fmt::format("{{'descr': '<f{}', 'fortran_order': False, 'shape': ({}{}), }}", size_of(dtype),
                  fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  const size_t before = kMagic.size() + 4;
  const size_t total = (before + dict.size() + 1 + 63) / 64 * 64;
  const size_t length = total - before;
  std::string header(kMagic);
  header += {'\1', '\0', char(length & 0xFF), char(length >> 8)};
  header += dict;
  header.resize(total - 1, ' ');
  return header + '\n';
}

}  // namespace

NpyHeader parse_npy_header(string_view start) {
  // The magic, two bytes of version, the length of the dict in two or four bytes, the dict.
  if (start.substr(0, kMagic.size()) != kMagic) fail("is not a NumPy file: it does not begin so");
  if (start.size() < kMagic.size() + 2) fail("ends before its format version");
  const int major = static_cast<unsigned char>(start[6]);
  const int minor = static_cast<unsigned char>(start[7]);
  if (major < 1 || major > 3 || minor != 0)
    fail(fmt::format("has format version {}.{}, but must have 1.0, 2.0 or 3.0", major, minor));
  const size_t length_bytes = major == 1 ? 2 : 4;
  const size_t dict_at = kMagic.size() + 2 + length_bytes;
  if (start.size() < dict_at) fail("ends before the length of its header");
  const size_t length = little_endian(start.substr(dict_at - length_bytes, length_bytes));
  if (length > kMaxNpyHeaderBytes - dict_at)
    fail(fmt::format("has a header of {} bytes, but at most {} are read", length,
                     kMaxNpyHeaderBytes - dict_at));
  if (length > start.size() - dict_at)
    fail(fmt::format("says that its header has {} bytes, but only {} follow", length,
                     start.size() - dict_at));
  NpyHeader header = DictParser(start.substr(dict_at, length)).parse();
  header.header_bytes = dict_at + length;
  header.data_bytes = checked_data_bytes(header.dtype, header.shape);
  return header;
}

std::string shape_text(const Shape& shape) {
  return shape.empty() ? "a single number" : fmt::format("{}", fmt::join(shape, "x"));
}

void write_npy(const std::string& path, DType dtype, const Shape& shape,
               const std::vector<std::byte>& data) {
  std::string file = make_npy_header(dtype, shape);
  file.append(reinterpret_cast<const char*>(data.data()), data.size());
  bench::write_file(path, file);
}

NpyFile::NpyFile(const std::string& path) : path_(path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (error) fail(fmt::format("cannot read {}: {}", path, error.message()));
  if (!fs::is_regular_file(status)) fail(fmt::format("cannot read {}: it is not a file", path));
  stream_.open(path, std::ios::binary);
  if (!stream_) fail(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail(fmt::format("cannot read {}: {}", path, error.message()));
  std::string start(std::min<std::uintmax_t>(size, kMaxNpyHeaderBytes), '\0');
  stream_.read(start.data(), std::streamsize(start.size()));
  start.resize(size_t(stream_.gcount()));
  try {
    header_ = parse_npy_header(start);
    if (header_.header_bytes + header_.data_bytes != size)
      fail(fmt::format("has {} bytes, but its header, {} of {}, promises {} + {} = {}", size,
                       to_string(header_.dtype), shape_text(header_.shape), header_.header_bytes,
                       header_.data_bytes, header_.header_bytes + header_.data_bytes));
  } catch (const Error& e) {
    throw Error(e.code(), path + ": " + e.what());
  }
}

std::vector<std::byte> NpyFile::read() {
  std::vector<std::byte> data(header_.data_bytes);
  stream_.clear();
  stream_.seekg(std::streamoff(header_.header_bytes));
  stream_.read(reinterpret_cast<char*>(data.data()), std::streamsize(data.size()));
  if (!stream_)
    fail(fmt::format("cannot read {}: got {} of its {} bytes of data", path_, stream_.gcount(),
                     data.size()));
  return data;
}

}  // namespace metalconv::cli
