// SPDX-License-Identifier: Apache-2.0
#include "cpu/strip.h"

#include <utility>

namespace metalconv::cpu {
namespace {

using std::int64_t;

// As many planes are read at a time as a cache has ways: rows of all may fall into the same set.
constexpr int64_t kWays = 8;

}  // namespace

Axis::Axis(int64_t outputs_, int64_t stride_, int64_t dilation_, int64_t taps_)
    : outputs(outputs_), stride(stride_), dilation(dilation_), taps(taps_) {
  const int64_t all = (outputs - 1) * stride + (taps - 1) * dilation + 1;
  const bool share = all <= outputs * taps;
  per_output = share ? stride : taps;
  per_tap = share ? dilation : 1;
  size = std::min(all, outputs * taps);
}

Strip::Strip(const ConvProblem& problem, Order order, int64_t rows, int64_t columns, int64_t step,
             const Converter& convert)
    : c_(problem),
      order_(order),
      convert_(convert),
      high_(rows, problem.stride_h, problem.dilation_h, problem.R),
      wide_(columns, problem.stride_w, problem.dilation_w, problem.S),
      span_((columns - 1) * problem.stride_w + (problem.S - 1) * problem.dilation_w + 1) {
  if (order == Order::pixels_last)
    lay_out_pixels_last(step);
  else
    lay_out_channels_last();
  row_step_ = high_.per_output * row_;
  floats_ = laid_out_ + room_for_halves();
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
  else if (convert_.halves())
    fill_pixels(static_cast<const std::uint16_t*>(x), block, strip);
  else
    fill_pixels(static_cast<const float*>(x), block, strip);
}

void Strip::refill(const void* x, const Block& block, float* strip) const {
  fill_planes(x, block, true, strip);
}

// -- pixels last --

/// Where each remainder of columns begins and ends is the same for all rows. `padded`: what is
/// padding is zeros already.
void Strip::fill_planes(const void* x, const Block& block, bool padded, float* strip) const {
  const int64_t step = c_.stride_w, phases = row_ / phase_;
  const auto steps = [step](int64_t n) { return step == 1 ? n : ceil_div(n, step); };
  const int64_t channels = c_.C_per_group(), first = block.n * c_.C + block.g * channels;
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, rows = high_.size_for(block.rows);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t f = 0; f < phases; ++f) {
      const int64_t w = block.q * step - c_.pad_left + f;
      const int64_t begin = w >= 0 ? 0 : std::min(steps(-w), phase_);
      const int64_t end = w >= c_.W ? begin : std::clamp(steps(c_.W - w), begin, phase_);
      const int64_t plane = (first + c) * c_.H * c_.W + w + begin * step;
      float* to = strip + c * channel_ + f * phase_;
      for (int64_t i = 0; i < rows; ++i, to += row_) {
        const int64_t h = h0 + high_.source(i);
        if (h < 0 || h >= c_.H) {
          if (!padded) std::fill_n(to, phase_, 0.0f);
          continue;
        }
        const void* from = convert_.at(x, plane + h * c_.W);
        if (!padded) std::fill(to, to + begin, 0.0f);
        if (step > 1)
          convert_.every(step, from, to + begin, end - begin);
        else if (convert_.halves())
          convert_.to_f32(from, to + begin, end - begin);
        else
          copy_floats(static_cast<const float*>(from), end - begin, to + begin);
        if (!padded) std::fill(to + end, to + phase_, 0.0f);
      }
    }
}

// -- channels last --

template <class T>
void Strip::fill_pixels(const T* x, const Block& block, float* strip) const {
  const int64_t h0 = block.p * c_.stride_h - c_.pad_top, w0 = block.q * c_.stride_w - c_.pad_left;
  const int64_t channels = c_.C_per_group(), rows = high_.size_for(block.rows);
  float* room = strip + laid_out_;
  for (int64_t i = 0; i < rows; ++i, strip += row_) {
    const int64_t h = h0 + high_.source(i);
    if (h < 0 || h >= c_.H)
      std::fill_n(strip, row_, 0.0f);
    else if (c_.layout == Layout::nchw)
      gather_pixels(x + ((block.n * c_.C + block.g * channels) * c_.H + h) * c_.W, w0, room, strip);
    else
      copy_pixels(x + (block.n * c_.H + h) * c_.W * c_.C + block.g * channels, w0, strip);
  }
}

/// From NHWC: every column's channels; `row` is that of column 0.
void Strip::copy_pixels(const void* row, int64_t w0, float* to) const {
  const int64_t channels = c_.C_per_group();
  if (wide_.shared() && pixel_ == c_.C) {  // all channels of neighbours
    const Window in = window(w0);
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

/// From NCHW; `row` is the first channel's.
void Strip::gather_pixels(const float* row, int64_t w0, float*, float* to) const {
  gather_planes(row, c_.H * c_.W, c_.C_per_group(), w0, c_.W, to);
}

void Strip::gather_planes(const float* row, int64_t plane, int64_t channels, int64_t w0,
                          int64_t width, float* to) const {
  for (int64_t left = channels; left > 0; left -= kWays, row += kWays * plane, to += kWays)
    for (int64_t i = 0; i < wide_.size; ++i) {
      const int64_t w = w0 + wide_.source(i);
      float* pixel = to + i * pixel_;
      if (w < 0 || w >= width)
        std::fill_n(pixel, std::min(left, kWays), 0.0f);
      else if (left >= kWays)
        for (int64_t c = 0; c < kWays; ++c) pixel[c] = row[c * plane + w];
      else
        for (int64_t c = 0; c < left; ++c) pixel[c] = row[c * plane + w];
    }
}

// -- halves: converted first, in `room` where their order changes --

int64_t Strip::room_for_halves() const {
  const bool gathered = order_ == Order::channels_last && c_.layout == Layout::nchw;
  return convert_.halves() && gathered ? kWays * std::min(span_, c_.W) : 0;
}

Strip::Window Strip::window(int64_t w0) const {
  const int64_t begin = std::clamp<int64_t>(-w0, 0, span_);
  return {begin, std::clamp(c_.W - w0, begin, span_)};
}

void Strip::gather_pixels(const std::uint16_t* row, int64_t w0, float* room, float* to) const {
  const int64_t channels = c_.C_per_group(), plane = c_.H * c_.W;
  const Window in = window(w0);
  for (int64_t c = 0; c < channels; c += kWays) {
    const int64_t some = std::min(kWays, channels - c);
    rows_to_f32(convert_, row + c * plane + w0 + in.begin, plane, room, in.size(), some, in.size());
    gather_planes(room, in.size(), some, -in.begin, in.size(), to + c);
  }
}

}  // namespace metalconv::cpu
