// SPDX-License-Identifier: Apache-2.0
#include "cpu/strip.h"

#include <utility>

namespace metalconv::cpu {

using std::int64_t;

constexpr int64_t kTurned = 16;  // pixels of halves that are turned at a time

Axis::Axis(int64_t outputs_, int64_t stride_, int64_t dilation_, int64_t taps_)
    : outputs(outputs_), stride(stride_), dilation(dilation_), taps(taps_) {
  const int64_t all = (outputs - 1) * stride + (taps - 1) * dilation + 1;
  const bool share = all <= outputs * taps;
  per_output = share ? stride : taps;
  per_tap = share ? dilation : 1;
  size = std::min(all, outputs * taps);
}

StripSizes::StripSizes(const ConvProblem& c, Order order, int64_t rows, int64_t columns,
                       int64_t step, int64_t channels_)
    : high(rows, c.stride_h, c.dilation_h, c.R),
      wide(columns, c.stride_w, c.dilation_w, c.S),
      channels(channels_ > 0 ? channels_ : c.C_per_group()) {
  if (order == Order::pixels_last) {
    // Columns are sorted by remainder modulo the stride: outputs that are neighbours read
    // neighbours.
    const int64_t reach = (c.S - 1) * c.dilation_w;
    phase = round_up(wide.outputs + reach / c.stride_w, step);
    row = phase * std::min(c.stride_w, reach + 1);
    channel = spread(high.size * row);
    floats = laid_out = channels * channel;
    if (c.layout == Layout::nhwc && c.dtype != DType::f32) floats += kTurned * channels;
    return;
  }
  pixel = channels % 128 == 0 ? spread(channels) : channels;
  row = wide.size * pixel;
  floats = laid_out = high.size * row;
  const bool straight = c.dtype == DType::f32 && (wide.shared() || wide.stride == 1);
  if (c.layout == Layout::nchw && !straight) floats += Turn::kPlanes * wide.size;
}

Strip::Strip(std::string_view isa, const ConvProblem& problem, Order order, int64_t rows,
             int64_t columns, int64_t step, int64_t channels)
    : c_(problem),
      order_(order),
      convert_(converter(isa, problem.dtype)),
      turn_(isa, problem.dtype),
      transpose_(transpose_of(isa)),
      z_(problem, order, rows, columns, step, channels),
      span_((columns - 1) * problem.stride_w + (problem.S - 1) * problem.dilation_w + 1) {
  if (order == Order::pixels_last)
    set_offsets_pixels_last();
  else
    set_offsets_channels_last();
  row_step_ = z_.high.per_output * z_.row;
}

void Strip::set_offsets_pixels_last() {
  for (int64_t c = 0; c < z_.channels; ++c) outer_.push_back(c * z_.channel);
  for (int64_t r = 0; r < c_.R; ++r)
    for (int64_t s = 0; s < c_.S; ++s) {
      const int64_t column = s * c_.dilation_w;
      inner_.push_back(r * z_.high.per_tap * z_.row + column % c_.stride_w * z_.phase +
                       column / c_.stride_w);
    }
  if (inner_.size() == 1) std::swap(inner_, outer_);  // the longer loop inside
}

void Strip::set_offsets_channels_last() {
  column_step_ = z_.wide.per_output * z_.pixel;
  for (int64_t r = 0; r < c_.R; ++r)
    for (int64_t s = 0; s < c_.S; ++s)
      outer_.push_back(r * z_.high.per_tap * z_.row + s * z_.wide.per_tap * z_.pixel);
  for (int64_t c = 0; c < z_.channels; ++c) inner_.push_back(c);
}

std::vector<int64_t> Strip::taps() const {
  std::vector<int64_t> taps;
  const bool planes = order_ == Order::pixels_last;
  const bool channels_outside = planes && inner_.size() == std::size_t(c_.R * c_.S);
  for (const int64_t c : channels_outside ? outer_ : inner_)
    for (const int64_t position : channels_outside ? inner_ : outer_) taps.push_back(c + position);
  return taps;
}

void Strip::fill(const void* x, const Block& block, float* strip) const {
  if (order_ == Order::pixels_last && c_.layout == Layout::nhwc)
    turn_pixels(x, block, strip);
  else if (order_ == Order::pixels_last)
    fill_planes(x, block, false, strip);
  else
    fill_pixels(x, block, strip);
}

void Strip::refill(const void* x, const Block& block, float* strip) const {
  fill_planes(x, block, true, strip);
}

// -- pixels last --

/// Where each remainder of columns begins and ends is the same for all rows. `padded`: what is
/// padding is zeros already.
void Strip::fill_planes(const void* x, const Block& block, bool padded, float* strip) const {
  const int64_t step = c_.stride_w, phases = z_.row / z_.phase;
  const int64_t channels = channels_of(block);
  const int64_t first = block.n * c_.C + block.g * c_.C_per_group() + block.c;
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, rows = z_.high.size_for(block.rows);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t f = 0; f < phases; ++f) {
      const int64_t w = block.q * step - c_.pad_left + f;
      const Inside in(w, step, z_.phase, c_.W);
      const int64_t plane = (first + c) * c_.H * c_.W + w + in.begin * step;
      float* to = strip + c * z_.channel + f * z_.phase;
      for (int64_t i = 0; i < rows; ++i, to += z_.row) {
        const int64_t h = h0 + z_.high.source(i);
        if (h < 0 || h >= c_.H) {
          if (!padded) std::fill_n(to, z_.phase, 0.0f);
          continue;
        }
        const void* from = convert_.at(x, plane + h * c_.W);
        if (!padded) std::fill(to, to + in.begin, 0.0f);
        if (step > 1)
          convert_.every(step, from, to + in.begin, in.size());
        else if (convert_.halves())
          convert_.to_f32(from, to + in.begin, in.size());
        else
          copy_floats(static_cast<const float*>(from), in.size(), to + in.begin);
        if (!padded) std::fill(to + in.end, to + z_.phase, 0.0f);
      }
    }
}

/// From NHWC.
void Strip::turn_pixels(const void* x, const Block& block, float* strip) const {
  const int64_t step = c_.stride_w, phases = z_.row / z_.phase, channels = channels_of(block);
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, rows = z_.high.size_for(block.rows);
  float* room = strip + z_.laid_out;
  for (int64_t f = 0; f < phases; ++f) {
    const int64_t w = block.q * step - c_.pad_left + f;
    const Inside in(w, step, z_.phase, c_.W);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t h = h0 + z_.high.source(i);
      const bool inside = h >= 0 && h < c_.H;
      const int64_t begin = inside ? in.begin : 0, end = inside ? in.end : 0;
      float* to = strip + i * z_.row + f * z_.phase;
      for (int64_t c = 0; c < channels; ++c) {
        std::fill_n(to + c * z_.channel, begin, 0.0f);
        std::fill(to + c * z_.channel + end, to + c * z_.channel + z_.phase, 0.0f);
      }
      const int64_t first = block.g * c_.C_per_group() + block.c;
      for (int64_t p = begin, n; p < end; p += n) {
        const int64_t pixel = (block.n * c_.H + h) * c_.W + w + p * step;
        const void* from = convert_.at(x, pixel * c_.C + first);
        n = convert_.halves() ? std::min(kTurned, end - p) : end - p;
        if (convert_.halves()) {
          rows_to_f32(convert_, from, step * c_.C, room, channels, n, channels);
          transpose_(room, channels, n, channels, to + p, z_.channel);
        } else {
          transpose_(static_cast<const float*>(from), step * c_.C, n, channels, to + p, z_.channel);
        }
      }
    }
  }
}

// -- channels last --

void Strip::fill_pixels(const void* x, const Block& block, float* strip) const {
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, w0 = block.q * c_.stride_w - c_.pad_left;
  const int64_t channels = channels_of(block), rows = z_.high.size_for(block.rows);
  float* room = strip + z_.laid_out;
  for (int64_t i = 0; i < rows; ++i, strip += z_.row) {
    const int64_t h = h0 + z_.high.source(i);
    const int64_t first = block.g * c_.C_per_group() + block.c;
    if (h < 0 || h >= c_.H)
      std::fill_n(strip, z_.row, 0.0f);
    else if (c_.layout == Layout::nchw)
      gather_pixels(convert_.at(x, ((block.n * c_.C + first) * c_.H + h) * c_.W), w0, channels,
                    room, strip);
    else
      copy_pixels(convert_.at(x, (block.n * c_.H + h) * c_.W * c_.C + first), w0, channels, strip);
  }
}

/// From NHWC: every column's channels; `row` is that of column 0.
void Strip::copy_pixels(const void* row, int64_t w0, int64_t channels, float* to) const {
  if (z_.wide.shared() && channels == c_.C && z_.pixel == c_.C) {  // all channels of neighbours
    const Inside in(w0, 1, span_, c_.W);
    std::fill_n(to, in.begin * z_.pixel, 0.0f);
    convert_.to_f32(convert_.at(row, (w0 + in.begin) * z_.pixel), to + in.begin * z_.pixel,
                    in.size() * z_.pixel);
    std::fill(to + in.end * z_.pixel, to + z_.row, 0.0f);
    return;
  }
  for (int64_t i = 0; i < z_.wide.size; ++i, to += z_.pixel) {
    const int64_t w = w0 + z_.wide.source(i);
    if (w < 0 || w >= c_.W)
      std::fill_n(to, channels, 0.0f);
    else
      convert_.to_f32(convert_.at(row, w * c_.C), to, channels);
  }
}

/// From NCHW: rows of planes become columns; `row` is the first channel's. Columns that are no
/// neighbours, and halves, pass through `room`.
void Strip::gather_pixels(const void* row, int64_t w0, int64_t channels, float* room,
                          float* to) const {
  const bool shared = z_.wide.shared();
  const int64_t plane = c_.H * c_.W;
  const int64_t step = shared ? 1 : z_.wide.stride, n = shared ? z_.wide.size : z_.wide.outputs;
  const int64_t taps = shared ? 1 : z_.wide.taps, pixel = taps * z_.pixel;
  for (int64_t t = 0; t < taps; ++t, to += z_.pixel) {
    const int64_t w = w0 + t * z_.wide.dilation;
    const Inside in(w, step, n, c_.W);
    for (int64_t i = 0; i < in.begin; ++i) std::fill_n(to + i * pixel, channels, 0.0f);
    for (int64_t i = in.end; i < n; ++i) std::fill_n(to + i * pixel, channels, 0.0f);
    turn_.to_pixels(convert_.at(row, w + in.begin * step), plane, channels, step, in.size(), room,
                    to + in.begin * pixel, pixel);
  }
}

}  // namespace metalconv::cpu
