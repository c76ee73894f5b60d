// SPDX-License-Identifier: Apache-2.0
// ConvProblem: output sizes, the rules it must keep, and its text form.
#include "metalconv/problem.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>
#include <string>

#include "expect_error.h"
#include "metalconv/error.h"
#include "metalconv/plan.h"

namespace metalconv {
namespace {

using std::int64_t;
using test::expect_error;
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

/// 2x6x10x12,k8,3x2, valid.
ConvProblem plain() {
  ConvProblem p;
  p.N = 2, p.C = 6, p.H = 10, p.W = 12, p.K = 8, p.R = 3, p.S = 2;
  return p;
}

using Change = std::function<void(ConvProblem&)>;

void expect_invalid(const Change& change, const std::string& sentence,
                    ErrorCode code = ErrorCode::invalid_argument) {
  ConvProblem p = plain();
  change(p);
  expect_error(code, sentence, [&] { p.validate(); });
}

// ---- output sizes

TEST(ConvProblem, DefaultsAreOnePixelThroughOneTap) {
  const ConvProblem p;
  EXPECT_NO_THROW(p.validate());
  EXPECT_EQ(to_text(p), "1x1x1x1,k1,1x1,s1,p0,d1,g1,f32,nchw");
  EXPECT_EQ(p.P(), 1);
  EXPECT_EQ(p.Q(), 1);
}

/// Counts the positions of the kernel one by one.
int64_t count_positions(int64_t size, int64_t taps, int64_t stride, int64_t before, int64_t after,
                        int64_t dilation) {
  int64_t count = 0;
  for (int64_t at = -before; at + dilation * (taps - 1) < size + after; at += stride) ++count;
  return count;
}

TEST(ConvProblem, OutputSizesAreTheNumberOfPositions) {
  for (int64_t size : {1, 2, 5, 8, 13})
    for (int64_t taps : {1, 2, 3, 7})
      for (int64_t stride : {1, 2, 3, 20})
        for (int64_t before : {0, 1, 4})
          for (int64_t after : {0, 2, 7})
            for (int64_t dilation : {1, 2, 3}) {
              const int64_t positions =
                  count_positions(size, taps, stride, before, after, dilation);
              ConvProblem p;
              p.H = size, p.R = taps, p.stride_h = stride, p.pad_top = before, p.pad_bottom = after,
              p.dilation_h = dilation;
              ConvProblem q;  // the same along the other axis
              q.W = size, q.S = taps, q.stride_w = stride, q.pad_left = before, q.pad_right = after,
              q.dilation_w = dilation;
              if (positions == 0) {
                EXPECT_THROW(p.validate(), Error) << to_text(p);
                EXPECT_THROW(q.validate(), Error) << to_text(q);
                continue;
              }
              p.validate();
              EXPECT_EQ(p.P(), positions) << to_text(p);
              EXPECT_EQ(p.Q(), 1) << to_text(p);
              q.validate();
              EXPECT_EQ(q.Q(), positions) << to_text(q);
              EXPECT_EQ(q.P(), 1) << to_text(q);
            }
}

TEST(ConvProblem, CountsElementsBytesAndOperations) {
  const ConvProblem p = parse_problem("2x6x10x12,k8,3x2,s2x1,p1x0,g2,f16,bias");
  EXPECT_EQ(p.P(), 5);
  EXPECT_EQ(p.Q(), 11);
  EXPECT_EQ(p.C_per_group(), 3);
  EXPECT_EQ(p.K_per_group(), 4);
  EXPECT_EQ(p.x_elements(), 2 * 6 * 10 * 12);
  EXPECT_EQ(p.w_elements(), 8 * 3 * 3 * 2);
  EXPECT_EQ(p.y_elements(), 2 * 8 * 5 * 11);
  EXPECT_EQ(p.x_bytes(), 2 * p.x_elements());
  EXPECT_EQ(p.w_bytes(), 2 * p.w_elements());
  EXPECT_EQ(p.y_bytes(), 2 * p.y_elements());
  EXPECT_EQ(p.flops(), 2.0 * double(p.y_elements()) * 18);
  EXPECT_EQ(p.min_bytes(), double(p.x_bytes() + p.w_bytes() + p.y_bytes() + 2 * 8));
}

TEST(ConvProblem, AnEmptyBatchIsValid) {
  const ConvProblem p = parse_problem("0x6x10x12,k8,3x2");
  EXPECT_EQ(p.x_elements(), 0);
  EXPECT_EQ(p.y_elements(), 0);
  EXPECT_EQ(p.w_elements(), 8 * 6 * 3 * 2);
  EXPECT_EQ(p.flops(), 0);
}

// ---- rules

TEST(Validate, SizesHaveALeastValue) {
  const std::pair<int64_t ConvProblem::*, std::string> at_least_one[] = {
      {&ConvProblem::C, "input channels C"},    {&ConvProblem::H, "input height H"},
      {&ConvProblem::W, "input width W"},       {&ConvProblem::K, "output channels K"},
      {&ConvProblem::R, "kernel height R"},     {&ConvProblem::S, "kernel width S"},
      {&ConvProblem::stride_h, "stride_h"},     {&ConvProblem::stride_w, "stride_w"},
      {&ConvProblem::dilation_h, "dilation_h"}, {&ConvProblem::dilation_w, "dilation_w"},
      {&ConvProblem::groups, "groups"}};
  for (const auto& [field, name] : at_least_one)
    for (const int64_t value : {int64_t(0), int64_t(-1), -kMax - 1})
      expect_invalid([&, f = field](ConvProblem& p) { p.*f = value; },
                     name + " is " + std::to_string(value) + ", but must be at least 1");
  const std::pair<int64_t ConvProblem::*, std::string> at_least_zero[] = {
      {&ConvProblem::N, "batch N"},
      {&ConvProblem::pad_top, "pad_top"},
      {&ConvProblem::pad_left, "pad_left"},
      {&ConvProblem::pad_bottom, "pad_bottom"},
      {&ConvProblem::pad_right, "pad_right"}};
  for (const auto& [field, name] : at_least_zero)
    for (const int64_t value : {int64_t(-1), -kMax - 1})
      expect_invalid([&, f = field](ConvProblem& p) { p.*f = value; },
                     name + " is " + std::to_string(value) + ", but must be at least 0");
}

TEST(Validate, EmptyImagesAreRefusedEvenWithPadding) {
  expect_invalid([](ConvProblem& p) { p.H = 0, p.pad_top = p.pad_bottom = 5; },
                 "input height H is 0, but must be at least 1");
}

TEST(Validate, GroupsDivideTheChannels) {
  expect_invalid([](ConvProblem& p) { p.groups = 4; },
                 "groups is 4, but must divide the input channels C = 6");
  expect_invalid([](ConvProblem& p) { p.groups = 6; },
                 "groups is 6, but must divide the output channels K = 8");
  expect_invalid([](ConvProblem& p) { p.groups = 12; },
                 "groups is 12, but must divide the input channels C = 6");
}

TEST(Validate, TheKernelFitsThePaddedInput) {
  expect_invalid([](ConvProblem& p) { p.R = 11; },
                 "kernel height R = 11 with dilation 1 spans 11 elements, but must not exceed the "
                 "padded input, 10 + 0 + 0 = 10");
  expect_invalid([](ConvProblem& p) { p.S = 5, p.dilation_w = 4, p.pad_left = 1, p.pad_right = 3; },
                 "kernel width S = 5 with dilation 4 spans 17 elements, but must not exceed the "
                 "padded input, 12 + 1 + 3 = 16");
  ConvProblem fits = plain();
  fits.S = 5, fits.dilation_w = 4, fits.pad_left = 2, fits.pad_right = 3;
  fits.validate();
  EXPECT_EQ(fits.Q(), 1);
}

TEST(Validate, Tf32IsAWayToMultiplyF32) {
  expect_invalid([](ConvProblem& p) { p.precision = Precision::tf32, p.dtype = DType::f16; },
                 "precision is tf32 with dtype f16, but tf32 is a way to multiply f32");
  ConvProblem p = plain();
  p.precision = Precision::tf32;
  EXPECT_NO_THROW(p.validate());
}

TEST(Validate, ExtremesDoNotOverflow) {
  const auto too_large = ErrorCode::too_large;
  const auto most = std::to_string(kMax);
  expect_invalid([](ConvProblem& p) { p.pad_top = kMax; },
                 "input height H = 10 with padding " + most +
                     " and 0, kernel height R = 3 and dilation 1 overflows 64 bits",
                 too_large);
  expect_invalid([](ConvProblem& p) { p.pad_left = p.pad_right = kMax / 2; },
                 "input width W = 12 with padding 4611686018427387903 and 4611686018427387903, "
                 "kernel width S = 2 and dilation 1 overflows 64 bits",
                 too_large);
  expect_invalid([](ConvProblem& p) { p.dilation_h = kMax; },
                 "input height H = 10 with padding 0 and 0, kernel height R = 3 and dilation " +
                     most + " overflows 64 bits",
                 too_large);
  expect_invalid([](ConvProblem& p) { p.R = kMax, p.dilation_h = 2; },
                 "input height H = 10 with padding 0 and 0, kernel height R = " + most +
                     " and dilation 2 overflows 64 bits",
                 too_large);
  expect_invalid([](ConvProblem& p) { p.R = kMax; },
                 "kernel height R = " + most + " with dilation 1 spans " + most +
                     " elements, but must not exceed the padded input, 10 + 0 + 0 = 10");
  expect_invalid([](ConvProblem& p) { p.N = kMax; },
                 "the input tensor has more bytes than 64 bits can count", too_large);
  expect_invalid([](ConvProblem& p) { p.K = kMax; },
                 "the weight tensor has more bytes than 64 bits can count", too_large);
  expect_invalid(
      [](ConvProblem& p) { p.K = int64_t(1) << 58, p.C = 1, p.H = p.W = 40, p.R = p.S = 1; },
      "the output tensor has more bytes than 64 bits can count", too_large);
  ConvProblem strided = plain();
  strided.stride_h = strided.stride_w = kMax;
  strided.validate();
  EXPECT_EQ(strided.P(), 1);
  EXPECT_EQ(strided.Q(), 1);
}

TEST(Validate, ElementsMayPass2To32AndBytesUpTo2To63) {
  const ConvProblem large = parse_problem("1x3x65536x65536,k2,1x1");
  EXPECT_EQ(large.x_elements(), 3 * (int64_t(1) << 32));
  EXPECT_EQ(large.y_elements(), int64_t(1) << 33);
  const std::string n = std::to_string(int64_t(1) << 61);
  EXPECT_EQ(parse_problem(n + "x1x1x1,k1,1x1,f16").x_bytes(), int64_t(1) << 62);
  EXPECT_THROW(parse_problem(n + "x1x1x1,k1,1x1,f32"), Error);
  EXPECT_THROW(parse_problem(n + "x2x1x1,k1,1x1,f16"), Error);
  EXPECT_THROW(parse_problem(n + "x1x1x1,k2,1x1,f16"), Error);
}

TEST(Validate, AnEmptyBatchHidesNoOverflow) {
  expect_invalid([](ConvProblem& p) { p.N = 0, p.H = p.W = int64_t(1) << 31; },
                 "the input tensor has more bytes than 64 bits can count", ErrorCode::too_large);
}

// ---- text

TEST(ProblemText, GivesDefaultsToWhatIsLeftOut) {
  ConvProblem p = plain();
  EXPECT_EQ(parse_problem("2x6x10x12,k8,3x2"), p);
  EXPECT_EQ(parse_problem("2x6x10x12,k8,3x2,s1,p0,d1,g1,f32,nchw,ieee,none"), p);
}

TEST(ProblemText, TakesEveryPartInAnyOrder) {
  ConvProblem p = plain();
  p.stride_h = 2, p.stride_w = 3;
  p.pad_top = 1, p.pad_left = 2, p.pad_bottom = 3, p.pad_right = 4;
  p.dilation_h = 2, p.dilation_w = 1;
  p.groups = 2;
  p.precision = Precision::tf32;
  p.layout = Layout::nhwc;
  p.bias = true;
  p.activation = Activation::silu;
  EXPECT_EQ(parse_problem("2x6x10x12,k8,3x2,silu,bias,tf32,nhwc,g2,d2x1,p1x2x3x4,s2x3"), p);
  EXPECT_EQ(to_text(p), "2x6x10x12,k8,3x2,s2x3,p1x2x3x4,d2x1,g2,f32,nhwc,tf32,bias,silu");
}

TEST(ProblemText, PaddingTakes1Or2Or4Numbers) {
  const auto padding = [](const std::string& text) {
    const ConvProblem p = parse_problem("1x1x9x9,k1,3x3," + text);
    return std::array{p.pad_top, p.pad_left, p.pad_bottom, p.pad_right};
  };
  EXPECT_EQ(padding("p3"), (std::array<int64_t, 4>{3, 3, 3, 3}));
  EXPECT_EQ(padding("p3x4"), (std::array<int64_t, 4>{3, 4, 3, 4}));
  EXPECT_EQ(padding("p3x4x5x6"), (std::array<int64_t, 4>{3, 4, 5, 6}));
}

TEST(ProblemText, SaysWhichPartIsWrong) {
  const std::pair<std::string, std::string> bad[] = {
      {"", "'' must begin with NxCxHxW,kK,RxS, as in 1x3x600x800,k64,3x3"},
      {"1x3x8x8,k4", "'1x3x8x8,k4' must begin with NxCxHxW,kK,RxS, as in 1x3x600x800,k64,3x3"},
      {"1x3x8,k4,3x3", "'1x3x8' must be NxCxHxW, four numbers"},
      {"1x3x8x8x8,k4,3x3", "'1x3x8x8x8' must be NxCxHxW, four numbers"},
      {"1x3x8xa,k4,3x3", "'1x3x8xa' must be NxCxHxW, four numbers"},
      {"1x3xx8,k4,3x3", "'1x3xx8' must be NxCxHxW, four numbers"},
      {"+1x3x8x8,k4,3x3", "'+1x3x8x8' must be NxCxHxW, four numbers"},
      {" 1x3x8x8,k4,3x3", "' 1x3x8x8' must be NxCxHxW, four numbers"},
      {"1x3x8x8,4,3x3", "'4' must be k with the number of output channels, as in k64"},
      {"1x3x8x8,,3x3", "'' must be k with the number of output channels, as in k64"},
      {"1x3x8x8,k,3x3", "'k' must be k with 1 number"},
      {"1x3x8x8,k4x4,3x3", "'k4x4' must be k with 1 number"},
      {"1x3x8x8,k4,3", "'3' must be RxS, as in 3x3"},
      {"1x3x8x8,k4,3x3x3", "'3x3x3' must be RxS, as in 3x3"},
      {"1x3x8x8,k4,3x3,s", "'s' must be s with 1 or 2 numbers"},
      {"1x3x8x8,k4,3x3,s1x1x1", "'s1x1x1' must be s with 1 or 2 numbers"},
      {"1x3x8x8,k4,3x3,d1.5", "'d1.5' must be d with 1 or 2 numbers"},
      {"1x3x8x8,k4,3x3,g1x1", "'g1x1' must be g with 1 number"},
      {"1x3x8x8,k4,3x3,p1x2x3",
       "'p1x2x3' must be p with 1, 2 (h x w) or 4 (top x left x bottom x right) numbers"},
      {"1x3x8x8,k4,3x3,p1x2x3x4x5",
       "'p1x2x3x4x5' must be p with 1, 2 (h x w) or 4 (top x left x bottom x right) numbers"},
      {"1x3x8x8,k4,3x3,f64",
       "'f64' is not an option: s1, p1, d1, g1, f32, f16, bf16, nchw, nhwc, tf32, bias, relu, "
       "relu6, silu"},
      {"1x3x8x8,k4,3x3,",
       "'' is not an option: s1, p1, d1, g1, f32, f16, bf16, nchw, nhwc, tf32, bias, relu, relu6, "
       "silu"},
      {"1x3x8x8,k4,3x3,NHWC",
       "'NHWC' is not an option: s1, p1, d1, g1, f32, f16, bf16, nchw, nhwc, tf32, bias, relu, "
       "relu6, silu"},
      {"1x3x8x8,k99999999999999999999,3x3", "'k99999999999999999999' has a number over 64 bits"},
      {"1x3x8x8,k4,3x3,s1,s1", "'s1' sets what an earlier part set"},
      {"1x3x8x8,k4,3x3,f32,f16", "'f16' sets what an earlier part set"},
      {"1x3x8x8,k4,3x3,relu,silu", "'silu' sets what an earlier part set"},
      {"1x3x8x8,k4,3x3,bias,bias", "'bias' sets what an earlier part set"},
      {"1x3x8x8,k4,3x3,nchw,nhwc", "'nhwc' sets what an earlier part set"},
      {"1x3x8x8,k4,3x3,tf32,ieee", "'ieee' sets what an earlier part set"},
  };
  for (const auto& [text, sentence] : bad)
    expect_error(ErrorCode::invalid_argument, fmt::format("problem '{}': {}", text, sentence),
                 [&, t = text] { parse_problem(t); });
}

TEST(ProblemText, RulesAreCheckedAndNameTheText) {
  expect_error(ErrorCode::invalid_argument,
               "problem '1x3x8x8,k4,3x3,p-1': pad_top is -1, but must be at least 0",
               [] { parse_problem("1x3x8x8,k4,3x3,p-1"); });
  expect_error(ErrorCode::invalid_argument,
               "problem '1x3x8x8,k4,3x3,g2': groups is 2, but must divide the input channels C = 3",
               [] { parse_problem("1x3x8x8,k4,3x3,g2"); });
  expect_error(ErrorCode::too_large,
               "problem '1x1x4294967296x4294967296,k1,1x1': the input tensor has more bytes than "
               "64 bits can count",
               [] { parse_problem("1x1x4294967296x4294967296,k1,1x1"); });
}

/// Any valid problem, large ones too.
ConvProblem random_problem(std::mt19937_64* random) {
  const auto upto = [&](int64_t most) { return int64_t((*random)() % std::uint64_t(most)) + 1; };
  ConvProblem p;
  p.groups = upto(4);
  p.N = upto(5) - 1, p.C = p.groups * upto(100), p.K = p.groups * upto(100);
  p.R = upto(9), p.S = upto(9);
  p.stride_h = upto(4), p.stride_w = upto(4);
  p.dilation_h = upto(3), p.dilation_w = upto(3);
  p.pad_top = upto(4) - 1, p.pad_left = upto(4) - 1;
  p.pad_bottom = upto(2) == 1 ? p.pad_top : upto(4) - 1;
  p.pad_right = upto(2) == 1 ? p.pad_left : upto(4) - 1;
  p.H = p.dilation_h * p.R + upto(1 << 20), p.W = p.dilation_w * p.S + upto(1 << 20);
  p.dtype = DType(upto(3) - 1);
  p.layout = Layout(upto(2) - 1);
  p.precision = p.dtype == DType::f32 ? Precision(upto(2) - 1) : Precision::ieee;
  p.bias = upto(2) == 1;
  p.activation = Activation(upto(4) - 1);
  return p;
}

TEST(ProblemText, ParsesBackToTheSameProblem) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 3000; ++i) {
    const ConvProblem p = random_problem(&random);
    ASSERT_NO_THROW(p.validate()) << to_text(p);
    ASSERT_EQ(parse_problem(to_text(p)), p) << to_text(p);
  }
}

// ---- names

TEST(Names, ParseBack) {
  for (auto v : {DType::f32, DType::f16, DType::bf16}) EXPECT_EQ(parse_dtype(to_string(v)), v);
  for (auto v : {Layout::nchw, Layout::nhwc}) EXPECT_EQ(parse_layout(to_string(v)), v);
  for (auto v : {Activation::none, Activation::relu, Activation::relu6, Activation::silu})
    EXPECT_EQ(parse_activation(to_string(v)), v);
  for (auto v : {Implementation::basic, Implementation::optimized, Implementation::vendor})
    EXPECT_EQ(parse_implementation(to_string(v)), v);
  EXPECT_EQ(size_of(DType::f32), 4u);
  EXPECT_EQ(size_of(DType::f16), 2u);
  EXPECT_EQ(size_of(DType::bf16), 2u);
}

TEST(Names, UnknownOnesListTheKnown) {
  const auto invalid = ErrorCode::invalid_argument;
  expect_error(invalid, "dtype is 'double', but must be one of f32, f16, bf16",
               [] { parse_dtype("double"); });
  expect_error(invalid, "layout is '', but must be one of nchw, nhwc", [] { parse_layout(""); });
  expect_error(invalid, "activation is 'gelu', but must be one of none, relu, relu6, silu",
               [] { parse_activation("gelu"); });
  expect_error(invalid, "implementation is 'Basic', but must be one of basic, optimized, vendor",
               [] { parse_implementation("Basic"); });
}

}  // namespace
}  // namespace metalconv
