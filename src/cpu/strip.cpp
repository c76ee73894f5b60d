// SPDX-License-Identifier: Apache-2.0
#include "cpu/strip.h"

#include <utility>

namespace metalconv::cpu {

using std::int64_t;

Axis::Axis(int64_t outputs_, int64_t stride_, int64_t dilation_, int64_t taps_)
    : outputs(outputs_), stride(stride_), dilation(dilation_), taps(taps_) {
  const int64_t all = (outputs - 1) * stride + (taps - 1) * dilation + 1;
  const bool share = all <= outputs * taps;
  per_output = share ? stride : taps;
  per_tap = share ? dilation : 1;
  size = std::min(all, outputs * taps);
}

Strip::Strip(std::string_view isa, const ConvProblem& problem, Order order, int64_t rows,
             int64_t columns, int64_t step)
    : c_(problem),
      order_(order),
      convert_(converter(isa, problem.dtype)),
      turn_(isa, problem.dtype),
      high_(rows, problem.stride_h, problem.dilation_h, problem.R),
      wide_(columns, problem.stride_w, problem.dilation_w, problem.S),
      span_((columns - 1) * problem.stride_w + (problem.S - 1) * problem.dilation_w + 1) {
  if (order == Order::pixels_last)
    lay_out_pixels_last(step);
  else
    lay_out_channels_last();
  row_step_ = high_.per_output * row_;
  floats_ = laid_out_ + room();
}

/// Columns are sorted by remainder modulo the stride: outputs that are neighbours read neighbours.
void Strip::lay_out_pixels_last(int64_t step) {
  const int64_t reach = (c_.S - 1) * c_.dilation_w;
  phase_ = round_up(wide_.outputs + reach / c_.stride_w, step);
  row_ = phase_ * std::min(c_.stride_w, reach + 1);
  channel_ = spread(high_.size * row_);
  laid_out_ = c_.C_per_group() * channel_;
  for (int64_t c = 0; c < c_.C_per_group(); ++c) outer_.push_back(c * channel_);
  for (int64_t r = 0; r < c_.R; ++r)
    for (int64_t s = 0; s < c_.S; ++s) {
      const int64_t column = s * c_.dilation_w;
      inner_.push_back(r * high_.per_tap * row_ + column % c_.stride_w * phase_ +
                       column / c_.stride_w);
    }
  if (inner_.size() == 1) std::swap(inner_, outer_);  // the longer loop inside
}

void Strip::lay_out_channels_last() {
  const int64_t channels = c_.C_per_group();
  pixel_ = channels % 128 == 0 ? spread(channels) : channels;
  row_ = wide_.size * pixel_;
  column_step_ = wide_.per_output * pixel_;
  laid_out_ = high_.size * row_;
  for (int64_t r = 0; r < c_.R; ++r)
    for (int64_t s = 0; s < c_.S; ++s)
      outer_.push_back(r * high_.per_tap * row_ + s * wide_.per_tap * pixel_);
  for (int64_t c = 0; c < channels; ++c) inner_.push_back(c);
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
  if (order_ == Order::pixels_last)
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
  const int64_t step = c_.stride_w, phases = row_ / phase_;
  const int64_t channels = c_.C_per_group(), first = block.n * c_.C + block.g * channels;
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, rows = high_.size_for(block.rows);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t f = 0; f < phases; ++f) {
      const int64_t w = block.q * step - c_.pad_left + f;
      const Inside in(w, step, phase_, c_.W);
      const int64_t plane = (first + c) * c_.H * c_.W + w + in.begin * step;
      float* to = strip + c * channel_ + f * phase_;
      for (int64_t i = 0; i < rows; ++i, to += row_) {
        const int64_t h = h0 + high_.source(i);
        if (h < 0 || h >= c_.H) {
          if (!padded) std::fill_n(to, phase_, 0.0f);
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
        if (!padded) std::fill(to + in.end, to + phase_, 0.0f);
      }
    }
}

// -- channels last --

void Strip::fill_pixels(const void* x, const Block& block, float* strip) const {
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, w0 = block.q * c_.stride_w - c_.pad_left;
  const int64_t channels = c_.C_per_group(), rows = high_.size_for(block.rows);
  float* room = strip + laid_out_;
  for (int64_t i = 0; i < rows; ++i, strip += row_) {
    const int64_t h = h0 + high_.source(i);
    const int64_t group = block.g * channels;
    if (h < 0 || h >= c_.H)
      std::fill_n(strip, row_, 0.0f);
    else if (c_.layout == Layout::nchw)
      gather_pixels(convert_.at(x, ((block.n * c_.C + group) * c_.H + h) * c_.W), w0, room, strip);
    else
      copy_pixels(convert_.at(x, (block.n * c_.H + h) * c_.W * c_.C + group), w0, strip);
  }
}

/// From NHWC: every column's channels; `row` is that of column 0.
void Strip::copy_pixels(const void* row, int64_t w0, float* to) const {
  const int64_t channels = c_.C_per_group();
  if (wide_.shared() && pixel_ == c_.C) {  // all channels of neighbours
    const Inside in(w0, 1, span_, c_.W);
    std::fill_n(to, in.begin * pixel_, 0.0f);
    convert_.to_f32(convert_.at(row, (w0 + in.begin) * pixel_), to + in.begin * pixel_,
                    in.size() * pixel_);
    std::fill(to + in.end * pixel_, to + row_, 0.0f);
    return;
  }
  for (int64_t i = 0; i < wide_.size; ++i, to += pixel_) {
    const int64_t w = w0 + wide_.source(i);
    if (w < 0 || w >= c_.W)
      std::fill_n(to, channels, 0.0f);
    else
      convert_.to_f32(convert_.at(row, w * c_.C), to, channels);
  }
}

/// From NCHW: rows of planes become columns; `row` is the first channel's. Columns that are no
/// neighbours, and halves, pass through `room`.
void Strip::gather_pixels(const void* row, int64_t w0, float* room, float* to) const {
  const bool shared = wide_.shared();
  const int64_t channels = c_.C_per_group(), plane = c_.H * c_.W;
  const int64_t step = shared ? 1 : wide_.stride, n = shared ? wide_.size : wide_.outputs;
  const int64_t taps = shared ? 1 : wide_.taps, pixel = taps * pixel_;
  for (int64_t t = 0; t < taps; ++t, to += pixel_) {
    const int64_t w = w0 + t * wide_.dilation;
    const Inside in(w, step, n, c_.W);
    for (int64_t i = 0; i < in.begin; ++i) std::fill_n(to + i * pixel, channels, 0.0f);
    for (int64_t i = in.end; i < n; ++i) std::fill_n(to + i * pixel, channels, 0.0f);
    turn_.to_pixels(convert_.at(row, w + in.begin * step), plane, channels, step, in.size(), room,
                    to + in.begin * pixel, pixel);
  }
}

int64_t Strip::room() const {
  const bool gathered = order_ == Order::channels_last && c_.layout == Layout::nchw;
  const bool straight = turn_.straight(wide_.shared() ? 1 : wide_.stride);
  return gathered && !straight ? Turn::kPlanes * wide_.size : 0;
}

}  // namespace metalconv::cpu
