// SPDX-License-Identifier: Apache-2.0
// NumPy files: what is read, what is refused, and that nothing else happens.
#include "cli/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>

#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

std::string preamble(int major, std::size_t length) {
  std::string text = std::string("\x93NUMPY") + char(major) + '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) text += char(length >> (8 * i) & 0xFF);
  return text;
}

std::string header_of(const std::string& dict, int major = 1) {
  return preamble(major, dict.size()) + dict;
}

std::string dict_of(const std::string& shape) {
  return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

/// The sentence with which parsing fails; empty when it does not.
std::string refusal(const std::string& start) {
  try {
    parse_npy_header(start);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io);
    return e.what();
  }
  return {};
}

class NpyFileTest : public testing::Test {
 protected:
  NpyFileTest()
      : path_(testing::TempDir() + "metalconv_npy_test_" + std::to_string(getpid()) + ".npy") {}
  ~NpyFileTest() override { std::filesystem::remove(path_); }

  void put(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }

  std::string get() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string open_refusal() {
    try {
      NpyFile file(path_);
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(path_));
      return e.what();
    }
    return {};
  }

  std::string path_;
};

TEST_F(NpyFileTest, WhatIsWrittenReadsBack) {
  for (DType dtype : {DType::f32, DType::f16})
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{0, 7}, Shape{2, 3, 4, 5}}) {
      std::size_t bytes = size_of(dtype);
      for (auto size : shape) bytes *= std::size_t(size);
      std::vector<std::byte> data(bytes);
      for (std::size_t i = 0; i < bytes; ++i) data[i] = std::byte(i * 37 + 1);
      write_npy(path_, dtype, shape, data);
      NpyFile file(path_);
      EXPECT_EQ(file.header().dtype, dtype);
      EXPECT_EQ(file.header().shape, shape);
      EXPECT_EQ(file.header().header_bytes % 64, 0u);
      EXPECT_EQ(file.read(), data);
      EXPECT_EQ(file.read(), data);  // again
    }
}

TEST_F(NpyFileTest, WritesTheBytesThatNumpyWrites) {
  const float data[] = {1.0f, -2.0f};
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  write_npy(path_, DType::f32, {1, 2}, {bytes, bytes + sizeof data});
  // numpy.save("x.npy", numpy.array([[1, -2]], "f4"))
  std::string wanted("\x93NUMPY\x01\x00\x76\x00", 10);
  wanted += "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  wanted.resize(127, ' ');
  wanted += '\n';
  wanted += std::string("\x00\x00\x80\x3F\x00\x00\x00\xC0", 8);
  EXPECT_EQ(get(), wanted);
}

TEST_F(NpyFileTest, EveryTruncationIsRefused) {
  const std::string whole = header_of(dict_of("(2, 3)")) + std::string(24, 'x');
  for (std::size_t size = 0; size < whole.size(); ++size) {
    put(whole.substr(0, size));
    EXPECT_NE(open_refusal(), "") << size;
  }
  put(whole);
  EXPECT_EQ(open_refusal(), "");
}

TEST_F(NpyFileTest, SizeMustAgreeAndBothNumbersAreNamed) {
  const std::string header = header_of(dict_of("(2, 3)"));
  for (std::size_t bytes : {23, 25}) {
    put(header + std::string(bytes, 'x'));
    EXPECT_THAT(open_refusal(), HasSubstr("has " + std::to_string(header.size() + bytes)));
    EXPECT_THAT(open_refusal(), HasSubstr("= " + std::to_string(header.size() + 24)));
  }
}

TEST_F(NpyFileTest, AHugeShapeAllocatesNothing) {
  put(header_of(dict_of("(1152921504606846976,)")));  // 2^60 numbers
  EXPECT_THAT(open_refusal(), HasSubstr("4611686018427387904"));
}

TEST_F(NpyFileTest, WhatIsNotAFileIsRefused) {
  EXPECT_THAT(open_refusal(), HasSubstr("No such file"));
  EXPECT_THROW(NpyFile{testing::TempDir()}, Error);
  EXPECT_THROW(NpyFile{"/dev/zero"}, Error);
}

TEST_F(NpyFileTest, AFileThatShrinksBeforeItIsReadIsAnError) {
  write_npy(path_, DType::f32, {4}, std::vector<std::byte>(16));
  NpyFile file(path_);
  std::filesystem::resize_file(path_, 130);
  EXPECT_THROW(file.read(), Error);
}

TEST(NpyHeaderTest, AcceptsAllFormatVersions) {
  for (int major : {1, 2, 3}) {
    const std::string start = header_of(dict_of("(1, 2, 3, 4)"), major) + "data";
    const NpyHeader header = parse_npy_header(start);
    EXPECT_EQ(header.shape, (Shape{1, 2, 3, 4}));
    EXPECT_EQ(header.header_bytes, start.size() - 4);
    EXPECT_EQ(header.data_bytes, 96u);
  }
}

TEST(NpyHeaderTest, AcceptsTheFormsThatWritersUse) {
  const std::string dicts[] = {
      "{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }",
      "{'descr':'<f2','fortran_order':False,'shape':(3,)}",
      "{\"shape\": (3,), \"fortran_order\": False, \"descr\": \"<f2\"}      \n",
      "  { 'shape' : ( 3 , ) , 'descr' : '<f2' , 'fortran_order' : False , }\n",
  };
  for (const std::string& dict : dicts) {
    const NpyHeader header = parse_npy_header(header_of(dict));
    EXPECT_EQ(header.dtype, DType::f16) << dict;
    EXPECT_EQ(header.shape, Shape{3}) << dict;
  }
  EXPECT_EQ(parse_npy_header(header_of(dict_of("()"))).shape, Shape{});
  EXPECT_EQ(parse_npy_header(header_of(dict_of("(3, 4,)"))).shape, (Shape{3, 4}));
}

TEST(NpyHeaderTest, AnEmptyArrayHasNoBytesWhateverItsOtherSizes) {
  const std::string huge = "4611686018427387904";
  const std::string shape = "(" + huge + ", 0, " + huge + ")";
  EXPECT_EQ(parse_npy_header(header_of(dict_of(shape))).data_bytes, 0u);
}

struct Hostile {
  const char* name;
  std::string start;
  const char* sentence;
};

class NpyHostile : public testing::TestWithParam<Hostile> {};

TEST_P(NpyHostile, IsRefusedWithASentence) {
  EXPECT_THAT(refusal(GetParam().start), HasSubstr(GetParam().sentence));
}

std::string descr(const std::string& value) {
  return header_of("{'descr': " + value + ", 'fortran_order': False, 'shape': (2,), }\n");
}

std::string shape(const std::string& value) { return header_of(dict_of(value)); }

std::string many_dimensions() {
  std::string text = "(";
  for (int i = 0; i < 33; ++i) text += "1, ";
  return text + ")";
}

INSTANTIATE_TEST_SUITE_P(
    Headers, NpyHostile,
    testing::Values(
        Hostile{"Empty", "", "not a NumPy file"},
        Hostile{"WrongMagic", "PK\x03\x04 a zip file, .npz", "not a NumPy file"},
        Hostile{"Version9", header_of("{}", 9), "version 9.0"},
        Hostile{"Version0", header_of("{}", 0), "version 0.0"},
        Hostile{"Version1Point1", std::string("\x93NUMPY\x01\x01\x02\x00{}", 12), "version 1.1"},
        Hostile{"LengthBeyondTheFile", preamble(1, 500) + "{}", "only 2 follow"},
        Hostile{"LengthOf4GiB", preamble(2, 0xFFFFFFFF) + "{}", "4294967295 bytes, but at most"},
        Hostile{"NoDict", header_of(""), "its end where { belongs"},
        Hostile{"EmptyDict", header_of("{}"), "no 'descr'"},
        Hostile{"UnclosedDict", header_of("{'descr': '<f4'"), "its end where , belongs"},
        Hostile{"TextAfterTheDict", header_of(dict_of("(2,)") + "x"), "the end of the header"},
        Hostile{"NulAfterTheDict", header_of(dict_of("(2,)") + '\0'), "'\\x00'"},
        Hostile{"CommaOnly", header_of("{,}"), "a string in quotes"},
        Hostile{"TwoCommas", header_of("{'descr': '<f4',, }"), "a string in quotes"},
        Hostile{"NoDescr", header_of("{'fortran_order': False, 'shape': (2,)}"), "no 'descr'"},
        Hostile{"NoOrder", header_of("{'descr': '<f4', 'shape': (2,)}"), "no 'fortran_order'"},
        Hostile{"NoShape", header_of("{'descr': '<f4', 'fortran_order': False}"), "no 'shape'"},
        Hostile{"DescrTwice", header_of("{'descr': '<f4', 'descr': '<f2'}"), "'descr' twice"},
        Hostile{"OrderTwice", header_of("{'fortran_order': False, 'fortran_order': False}"),
                "'fortran_order' twice"},
        Hostile{"ShapeTwice", header_of("{'shape': (1,), 'shape': (1,)}"), "'shape' twice"},
        Hostile{"ExtraKey", header_of("{'descr': '<f4', 'x': 1}"), "the key 'x'"},
        Hostile{"NonAsciiKey", header_of("{'\xC3\xA9': 1}", 3), "the key '\\xc3\\xa9'"},
        Hostile{"LongKey", header_of("{'" + std::string(9000, 'k') + "': 1}"), "kkk...'"},
        Hostile{"UnclosedString", header_of("{'descr': '<f4}"), "no closing quote"},
        Hostile{"Escape", header_of("{'de\\x73cr': '<f4'}"), "escape sequence"},
        Hostile{"BigEndian", descr("'>f4'"), "big-endian"},
        Hostile{"NativeOrder", descr("'=f4'"), "byte order"},
        Hostile{"NoOrderMark", descr("'|f4'"), "byte order"},
        Hostile{"Double", descr("'<f8'"), "'<f2' (float16): save array.astype('float32')"},
        Hostile{"Integer", descr("'<i4'"), "descr is '<i4'"},
        Hostile{"Object", descr("'|O'"), "descr is '|O', but must be '<f4'"},
        Hostile{"Structured", descr("[('a', '<f4')]"), "a string in quotes"},
        Hostile{"FortranOrder",
                header_of("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }"),
                "save the array in C order"},
        Hostile{"OrderIsANumber", header_of("{'fortran_order': 0}"), "True or False"},
        Hostile{"OrderWithATail", header_of("{'fortran_order': Falsehood}"), "where , belongs"},
        Hostile{"ShapeIsANumber", shape("3"), "where ( belongs"},
        Hostile{"ShapeInParentheses", shape("(3)"), "a comma after the only size"},
        Hostile{"ShapeIsAList", shape("[3, 4]"), "where ( belongs"},
        Hostile{"ShapeIsACommaOnly", shape("(,)"), "a size"},
        Hostile{"ShapeWithTwoCommas", shape("(3,,4)"), "a size"},
        Hostile{"ShapeWithoutComma", shape("(3 4)"), "belongs"},
        Hostile{"ShapeUnclosed", shape("(3, 4"), "belongs"},
        Hostile{"NegativeSize", shape("(3, -4)"), "negative"},
        Hostile{"PositiveSign", shape("(+3,)"), "a size"},
        Hostile{"Hexadecimal", shape("(0x3,)"), "belongs"},
        Hostile{"LeadingZero", shape("(03,)"), "leading zeros"},
        Hostile{"PythonLong", shape("(3L,)"), "belongs"},
        Hostile{"Fraction", shape("(3.5,)"), "belongs"},
        Hostile{"SizeOver64Bits", shape("(9223372036854775808,)"), "over 64 bits"},
        Hostile{"ProductOver64Bits", shape("(4294967296, 4294967296)"), "64 bits can count"},
        Hostile{"BytesOver64Bits", shape("(4611686018427387904,)"), "64 bits can count"},
        Hostile{"ManyDimensions", shape(many_dimensions()), "more than 32 dimensions"}),
    [](const auto& p) { return std::string(p.param.name); });

TEST(NpyHeaderTest, EveryTruncationIsRefused) {
  for (int major : {1, 2, 3}) {
    const std::string whole = header_of(dict_of("(2, 3)"), major);
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_NE(refusal(whole.substr(0, size)), "") << size;
  }
}

// Also run under AddressSanitizer and UndefinedBehaviorSanitizer.
TEST(NpyHeaderTest, RandomMutationsParseOrAreRefused) {
  std::mt19937 random(20240607);
  const auto below = [&](std::size_t n) { return std::size_t(random() % n); };
  const std::string alphabet = "{}()[]'\",: \n-0123456789<>=|fTF\\x\0\xFF\x80"s;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  long tried = 0, parsed = 0;
  while (std::chrono::steady_clock::now() < end) {
    std::string start = header_of(dict_of("(12, 3, 45, 6)"), 1 + int(below(3)));
    for (std::size_t edits = 1 + below(4); edits > 0; --edits) {
      const std::size_t at = below(start.size());
      const char c = alphabet[below(alphabet.size())];
      switch (below(4)) {
        case 0:
          start[at] = c;
          break;
        case 1:
          start.insert(at, 1, c);
          break;
        case 2:
          start.erase(at, 1 + below(3));
          break;
        case 3:
          start.insert(below(start.size()), start.substr(at, below(16)));
          break;
      }
    }
    ++tried;
    try {
      const NpyHeader header = parse_npy_header(start);
      ASSERT_LE(header.header_bytes, start.size());
      for (auto size : header.shape) ASSERT_GE(size, 0);
      ++parsed;
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ErrorCode::io);
    }
  }
  EXPECT_GT(tried, 1000);
  EXPECT_GT(parsed, 0);
}

}  // namespace
}  // namespace metalconv::cli
