// SPDX-License-Identifier: Apache-2.0
// A strip: a thread's private copy, in f32, of the input that a block of output rows and columns
// reads.
// Padding is zeros, and every tap of every output is a plain offset: no bounds, no strides. A
// weight that is infinite or NaN makes the outputs at the border NaN, where the definition skips
// the tap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cpu/arithmetic.h"
#include "cpu/convert.h"
#include "cpu/transpose.h"
#include "metalconv/problem.h"

namespace metalconv::cpu {

/// One dimension of the strip. Output i's tap t is at index i * per_output + t * per_tap.
struct Axis {
  std::int64_t outputs, stride, dilation, taps;
  std::int64_t per_output, per_tap, size;

  /// Everything between the first and the last tap is kept, or only what taps read, one output
  /// after the other, where that is shorter (1x1 with a stride, wide dilations).
  Axis(std::int64_t outputs, std::int64_t stride, std::int64_t dilation, std::int64_t taps);
  bool shared() const { return per_output == stride && per_tap == dilation; }
  /// Input index of strip index i, counted from the first output's first tap.
  std::int64_t source(std::int64_t i) const {
    return shared() ? i : i / taps * stride + i % taps * dilation;
  }
  /// What `n` of the outputs need.
  std::int64_t size_for(std::int64_t n) const { return size - (outputs - n) * per_output; }
};

/// Output rows [p, p + rows) and columns [q, q + columns) of one group of one image.
struct Block {
  std::int64_t n, g, p, rows, q, columns;
  std::int64_t c = 0;  ///< the first input channel of the group that is wanted
};

enum class Order {
  pixels_last,    ///< [channel][row][column modulo stride][column / stride]
  channels_last,  ///< [row][column][channel]
};

/// What a strip measures, in floats; as Strip's constructor.
struct StripSizes {
  StripSizes(const ConvProblem& problem, Order order, std::int64_t rows, std::int64_t columns,
             std::int64_t step, std::int64_t channels);

  Axis high, wide;
  std::int64_t channels;
  std::int64_t row = 0;                 ///< from row to row
  std::int64_t channel = 0, phase = 0;  ///< pixels last: of a channel, of one remainder of columns
  std::int64_t pixel = 0;               ///< channels last: from column to column
  std::int64_t laid_out = 0;
  std::int64_t floats = 0;  ///< laid out, and room for conversions
};

class Strip {
 public:
  /// For blocks of at most `rows` x `columns` outputs and so many input channels of a group, all
  /// where it is 0. Pixels last: the columns of one remainder take a multiple of `step` floats.
  Strip(std::string_view isa, const ConvProblem& problem, Order order, std::int64_t rows,
        std::int64_t columns, std::int64_t step, std::int64_t channels = 0);

  std::int64_t floats() const { return z_.floats; }
  /// Place of the first tap of output row i, column j of a block.
  std::int64_t place(std::int64_t i, std::int64_t j) const {
    return i * row_step_ + j * column_step_;
  }
  std::int64_t row_step() const { return row_step_; }
  std::int64_t column_step() const { return column_step_; }
  std::int64_t rows() const { return z_.high.size; }        ///< input rows
  std::int64_t pitch() const { return z_.row; }             ///< floats from input row to input row
  std::int64_t channel_step() const { return z_.channel; }  ///< pixels last

  /// Offsets whose sums, outer by outer, are the taps. Pixels last: channels, then kernel
  /// positions; channels last: kernel positions, then channels.
  const std::vector<std::int64_t>& outer() const { return outer_; }
  const std::vector<std::int64_t>& inner() const { return inner_; }
  /// The offsets of all taps, in the order C/groups, R, S of the weights.
  std::vector<std::int64_t> taps() const;

  void fill(const void* x, const Block& block, float* strip) const;
  /// The same where `strip` already holds a block of the same output rows and columns, of another
  /// group or image: what is padding stays. Pixels last, of NCHW.
  void refill(const void* x, const Block& block, float* strip) const;

 private:
  void set_offsets_pixels_last();
  void set_offsets_channels_last();

  void fill_planes(const void* x, const Block& block, bool padded, float* strip) const;
  void turn_pixels(const void* x, const Block& block, float* strip) const;
  void fill_pixels(const void* x, const Block& block, float* strip) const;

  // One row of the strip from a row of x, from column w0 on. `room` takes what is converted first.
  void copy_pixels(const void* row, std::int64_t w0, std::int64_t channels, float* to) const;
  void gather_pixels(const void* row, std::int64_t w0, std::int64_t channels, float* room,
                     float* to) const;
  /// That there are from the block's first on.
  std::int64_t channels_of(const Block& block) const {
    return std::min(z_.channels, c_.C_per_group() - block.c);
  }

  ConvProblem c_;
  Order order_;
  const Converter& convert_;
  Turn turn_;
  Transpose transpose_;
  StripSizes z_;
  std::int64_t span_;  // columns from the first that a row reads to the last
  std::int64_t row_step_ = 0, column_step_ = 1;
  std::vector<std::int64_t> outer_, inner_;
};

}  // namespace metalconv::cpu
