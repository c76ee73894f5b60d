// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution: one input channel a group, so that nothing is shared among output channels
// and memory decides. NCHW: plane by plane, vectors along the columns, in place or through a strip
// (strip.h); or turned to NHWC. NHWC: vectors along the channels, taps on the padding are left out.
// Halves are read from a copy in f32.
#include "cpu/depthwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/call.h"
#include "cpu/rows.h"
#include "cpu/strip.h"
#include "cpu/transpose.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

// Half of a 32 KiB L1, so that what a strip's copy wrote is still there when it is read.
constexpr int64_t kStripFloats = 4 << 10;
// Rows copied pixel by pixel: an eighth of a 512 KiB L2.
constexpr int64_t kCopyFloats = 16 << 10;
// Weights that all pixels of a row go through: half of a 32 KiB L1.
constexpr int64_t kWeightFloats = 4 << 10;
// Input rows that are read again for the next row: three quarters of a 32 KiB L1.
constexpr int64_t kRowsFloats = 6 << 10;
constexpr int64_t kShare = 64;  // channels of a task at least: four lines a pixel

depthwise::Clamp clamp_of(Activation activation) {
  const float infinity = std::numeric_limits<float>::infinity();
  return {activation != Activation::none, 0.0f, activation == Activation::relu6 ? 6.0f : infinity};
}

class Depthwise : public PreparedConv {
 public:
  Depthwise(const Context& context, const ConvProblem& problem)
      : context_(context),
        kernels_(depthwise::kernels_of(context.isa())),
        convert_(converter(context.isa(), problem.dtype)),
        c_(problem),
        P_(problem.P()),
        Q_(problem.Q()),
        lanes_(kernels_.lanes) {}

  std::size_t packed_bytes() const override { return std::size_t(c_.w_elements()) * sizeof(float); }

 protected:
  /// Enough tasks to even out their lengths.
  int64_t wanted_tasks() const { return 4 * context_.threads(); }

  const Context& context_;
  const depthwise::Kernels& kernels_;
  const Converter& convert_;
  ConvProblem c_;
  int64_t P_, Q_, lanes_;
};

// -- vectors of columns, in place --

/// Of neighbouring outputs that share input rows.
class DepthwiseByRows final : public Depthwise {
 public:
  static bool takes(const Context& context, const ConvProblem& p) {
    return p.layout == Layout::nchw && kernel_of(context, p) != nullptr;
  }
  DepthwiseByRows(const Context& context, const ConvProblem& problem)
      : Depthwise(context, problem),
        kernel_(kernel_of(context, problem)),
        bands_(bands_of_plane()),
        planes_(std::max<int64_t>(c_.N * c_.groups / wanted_tasks(), 1)),
        band_(ceil_div(P_, bands_)),
        slots_(context.threads(), convert_.halves() ? copy_floats() + band_ * Q_ : 0,
               bias_floats(problem)) {}

  std::size_t workspace_bytes() const override { return convert_.halves() ? slots_.bytes() : 0; }
  std::string detail() const override {
    return fmt::format("{}, vectors of columns in place", context_.isa());
  }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    convert_.to_f32(w.memory.address(), static_cast<float*>(packed.address()), c_.w_elements());
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const bool halves = convert_.halves();
    const Call io(c_, x, packed, bias, y, convert_, halves ? slots_.head(workspace) : nullptr);
    const int64_t planes = c_.N * c_.groups, chunks = ceil_div(planes, planes_);
    context_.parallel_for(chunks * bands_, [&](int64_t task) {
      float* slot = halves ? slots_.mine(workspace) : nullptr;
      const int64_t first = task / bands_ * planes_, band = task % bands_;
      for (int64_t i = first; i < std::min(first + planes_, planes); ++i)
        rows(io, i, band * P_ / bands_, (band + 1) * P_ / bands_, slot);
    });
  }

 private:
  static depthwise::RowsKernel kernel_of(const Context& context, const ConvProblem& p) {
    const auto& kernels = depthwise::kernels_of(context.isa());
    constexpr int64_t kWidest = int64_t(1) << 30;  // masks of borders count columns in 32 bits
    const bool fits = p.R == p.S && p.stride_h == p.stride_w && p.dilation_h == 1 &&
                      p.dilation_w == 1 && p.Q() >= kernels.lanes && p.W >= kernels.lanes &&
                      p.W <= kWidest;
    return fits ? kernels.rows(p.R, p.stride_h) : nullptr;
  }
  int64_t rows_read(int64_t rows) const { return (rows - 1) * c_.stride_h + c_.R; }
  /// Halves in bands whose copies stay in L1; otherwise no more than it takes to busy all threads.
  int64_t bands_of_plane() const {
    int64_t bands = std::min(P_, ceil_div(wanted_tasks(), std::max<int64_t>(c_.N * c_.groups, 1)));
    const auto floats = [&] { return rows_read(ceil_div(P_, bands)) * c_.W; };
    while (convert_.halves() && bands < P_ && floats() > kStripFloats) ++bands;
    return bands;
  }
  int64_t copy_floats() const { return round_up(rows_read(band_) * c_.W, kLine); }

  /// Output rows [begin, end) of all output channels of the group that reads plane i.
  void rows(const Call& io, int64_t i, int64_t begin, int64_t end, float* slot) const {
    const int64_t top = begin * c_.stride_h - c_.pad_top;
    const int64_t low = std::clamp<int64_t>(top, 0, c_.H);
    const int64_t high = std::clamp<int64_t>(top + rows_read(end - begin), low, c_.H);
    const void* x = convert_.at(io.x, (i * c_.H + low) * c_.W);
    float* sums = slot + copy_floats();
    if (convert_.halves()) convert_.to_f32(x, slot, (high - low) * c_.W);
    depthwise::Rows all{};
    all.x = convert_.halves() ? slot : static_cast<const float*>(x);
    all.H = high - low;
    all.W = c_.W;
    all.top = top - low;
    all.left = -c_.pad_left;
    all.rows = end - begin;
    all.columns = Q_;
    all.clamp = clamp_of(c_.activation);
    const int64_t m = c_.K_per_group();
    for (int64_t k = i * m; k < (i + 1) * m; ++k) {  // of all images
      const int64_t channel = k % c_.K, y = (k * P_ + begin) * Q_;
      all.w = io.w + channel * c_.R * c_.S;
      all.bias = io.bias ? io.bias[channel] : 0.0f;
      all.y = convert_.halves() ? sums : io.floats(y);
      kernel_(all);
      if (convert_.halves()) io.store(sums, all.rows * Q_, y);
    }
  }

  depthwise::RowsKernel kernel_;
  int64_t bands_;   // of output rows of a plane, a task each
  int64_t planes_;  // of a task
  int64_t band_;    // output rows of a band at most
  Slots slots_;
};

// -- vectors of columns, through a strip --

class DepthwiseByPlanes final : public Depthwise {
 public:
  DepthwiseByPlanes(const Context& context, const ConvProblem& problem)
      : Depthwise(context, problem),
        band_(band_rows(problem)),
        bands_(ceil_div(P_, band_)),
        planes_(std::max<int64_t>(c_.N * c_.groups / wanted_tasks(), 1)),
        narrow_(Q_ < lanes_),
        strip_(context.isa(), problem, Order::pixels_last, band_, Q_, narrow_ ? 1 : kLine),
        through_(narrow_ && vectors_through(band_) < band_),
        pitch_(through_ ? strip_.row_step() : std::max(Q_, lanes_)),
        slots_(context.threads(), strip_floats() + sums_floats() + rows_floats(),
               bias_floats(problem)) {
    for (int64_t i = 0; through_ && i < vectors_through(band_); ++i)
      add_vector(i * lanes_, i * lanes_);
    for (int64_t p = 0; !through_ && p < band_; ++p)
      for (int64_t q = 0; q < Q_; q += lanes_) {
        // A row's last vector overlaps the one before it.
        const int64_t start = narrow_ ? 0 : std::min(q, Q_ - lanes_);
        add_vector(strip_.place(p, start), p * pitch_ + start);
      }
  }

  std::size_t workspace_bytes() const override { return slots_.bytes(); }
  std::string detail() const override {
    return fmt::format("{}, vectors of columns, {} rows a strip", context_.isa(), band_);
  }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    convert_.to_f32(w.memory.address(), static_cast<float*>(packed.address()), c_.w_elements());
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const Call io(c_, x, packed, bias, y, convert_, slots_.head(workspace));
    const int64_t planes = c_.N * c_.groups, chunks = ceil_div(planes, planes_);
    context_.parallel_for(chunks * bands_, [&](int64_t task) {
      float* slot = slots_.mine(workspace);
      const int64_t first = task / bands_ * planes_, p = task % bands_ * band_;
      for (int64_t i = first; i < std::min(first + planes_, planes); ++i)
        band(io, {i / c_.groups, i % c_.groups, p, std::min(band_, P_ - p), 0, Q_}, i > first,
             slot);
    });
  }

 private:
  static int64_t band_rows(const ConvProblem& c) {
    const int64_t columns = Axis(c.Q(), c.stride_w, c.dilation_w, c.S).size;
    int64_t rows = c.P();
    while (rows > 1 && Axis(rows, c.stride_h, c.dilation_h, c.R).size * columns > kStripFloats)
      rows = ceil_div(rows, 2);
    return rows;
  }
  void add_vector(int64_t from, int64_t to) {
    from_.push_back(from);
    to_.push_back(to);
  }
  /// Vectors from the first output of `rows` rows to the last.
  int64_t vectors_through(int64_t rows) const {
    return ceil_div((rows - 1) * strip_.row_step() + Q_, lanes_);
  }
  int64_t vectors(int64_t rows) const {
    return through_ ? vectors_through(rows) : rows * ceil_div(Q_, lanes_);
  }
  // A slot: the strip (vectors may be read, and dropped, up to one past the end), what narrow
  // vectors give, and rows that are halves next.
  int64_t strip_floats() const { return round_up(strip_.floats(), kLine) + 2 * kLine; }
  /// Where the strip begins: column 0 of the input then begins a cache line.
  int64_t lead() const { return narrow_ ? 0 : (kLine - c_.pad_left % kLine) % kLine; }
  int64_t sums_floats() const {
    return narrow_ ? round_up((band_ - 1) * pitch_ + Q_ + lanes_, kLine) : 0;
  }
  int64_t rows_floats() const { return convert_.halves() ? band_ * Q_ : 0; }

  /// All output channels of one group. `again`: the slot holds the same rows of another group.
  void band(const Call& io, const Block& block, bool again, float* slot) const {
    float* strip = slot + lead();
    if (again)
      strip_.refill(io.x, block, strip);
    else
      strip_.fill(io.x, block, strip);
    const int64_t m = c_.K_per_group();
    float* sums = slot + strip_floats();
    float* rows = sums + sums_floats();
    depthwise::Plane plane{};
    plane.x = strip;
    plane.taps = strip_.inner().data();
    plane.tap_count = c_.R * c_.S;
    plane.clamp = clamp_of(c_.activation);
    plane.from = from_.data();
    plane.to = to_.data();
    plane.vectors = vectors(block.rows);
    for (int64_t k = block.g * m; k < (block.g + 1) * m; ++k) {
      const int64_t y = ((block.n * c_.K + k) * P_ + block.p) * Q_;
      float* out = convert_.halves() ? rows : io.floats(y);
      plane.w = io.w + k * plane.tap_count;
      plane.bias = io.bias ? io.bias[k] : 0.0f;
      plane.y = narrow_ ? sums : out;
      kernels_.plane(plane);
      for (int64_t p = 0; narrow_ && p < block.rows; ++p)
        copy_floats(sums + p * pitch_, Q_, out + p * Q_);
      if (convert_.halves()) io.store(rows, block.rows * Q_, y);
    }
  }

  int64_t band_, bands_;  // output rows of a task, and how many of those
  int64_t planes_;        // of a task
  bool narrow_;           // rows are below a vector, so that sums do not go where they belong
  Strip strip_;
  bool through_;   // vectors run through the strip's rows and what lies between them
  int64_t pitch_;  // of rows of sums
  Slots slots_;
  std::vector<int64_t> from_, to_;
};

// -- vectors of channels --

/// One output channel a group.
class DepthwiseByChannels final : public Depthwise {
 public:
  DepthwiseByChannels(const Context& context, const ConvProblem& problem)
      : Depthwise(context, problem),
        in_place_(c_.layout == Layout::nhwc && !convert_.halves()),
        span_((Q_ - 1) * c_.stride_w + (c_.S - 1) * c_.dilation_w + 1),
        shared_(c_.stride_w == c_.dilation_w && depthwise::shares(c_.S, 1)),
        padded_(!in_place_ && !shared_ && span_ <= 2 * c_.W),
        width_(padded_ ? span_ : c_.W),
        most_(slot_limit(problem, context.threads())),
        turn_(context.isa(), c_.dtype),
        share_(channels_of_task()),
        shares_(ceil_div(c_.C, share_)),
        bands_(std::min(P_, ceil_div(wanted_tasks(), std::max<int64_t>(c_.N * shares_, 1)))),
        segment_(columns_of_segment()),
        high_(rows_of_copy()),
        slots_(context.threads(), in_place_ ? 0 : slot_floats(high_, share_),
               bias_floats(problem)) {
    for (int64_t q = 0; q < Q_; ++q) {
      const Inside inside(q * c_.stride_w - (padded_ ? 0 : c_.pad_left), c_.dilation_w, c_.S,
                          width_);
      const Inside taps = shared_ ? Inside(0, 1, c_.S, c_.S) : inside;
      if (q % segment_ == 0) segments_.emplace_back();
      std::vector<Run>& runs = segments_.back();
      if (runs.empty() || !(runs.back().taps == taps)) runs.push_back({q, 0, taps});
      ++runs.back().pixels;
    }
  }

  std::size_t workspace_bytes() const override { return in_place_ ? 0 : slots_.bytes(); }
  std::string detail() const override {
    return fmt::format("{}, vectors of channels", context_.isa());
  }

  /// [r][s][channel].
  void pack(Queue&, const TensorView& w, Memory packed) const override {
    const Floats floats(convert_, w, c_.w_elements());
    const float* from = floats.data();
    auto* to = static_cast<float*>(packed.address());
    const int64_t taps = c_.R * c_.S;
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t c = 0; c < c_.C; ++c) to[t * c_.C + c] = from[c * taps + t];
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const Call io(c_, x, packed, bias, y, convert_, in_place_ ? nullptr : slots_.head(workspace));
    context_.parallel_for(c_.N * bands_ * shares_, [&](int64_t task) {
      const int64_t first = task % shares_ * share_;
      const int64_t band = task / shares_ % bands_, n = task / shares_ / bands_;
      const Part part{n, band * P_ / bands_, (band + 1) * P_ / bands_, first,
                      std::min(share_, c_.C - first)};
      if (in_place_)
        band_in_place(io, part);
      else
        band_of_copies(io, part, slots_.mine(workspace));
    });
  }

 private:
  /// Channels [first, first + channels) of output rows [begin, end) of image n.
  struct Part {
    int64_t n, begin, end, first, channels;
  };

  /// Output rows: the input row of the first one's first tap is at x + at, whether it exists or
  /// not.
  struct Place {
    const float* x;
    int64_t at, x_down, x_row, x_pixel;  ///< x_down: from output to output, x_row: from tap to tap
    float* y;
    int64_t y_pixel;
  };

  /// Neighbours in a row whose taps inside are the same, all but those at the borders, or that
  /// share what they read.
  struct Run {
    int64_t q, pixels;
    Inside taps;  ///< those in the image, or all
  };

  Axis high(int64_t rows) const { return Axis(rows, c_.stride_h, c_.dilation_h, c_.R); }

  /// Whole cache lines: as many as keep their weights in L1, and let there be tasks enough.
  int64_t channels_of_task() const {
    const int64_t least_shares =
        ceil_div(wanted_tasks(), std::max<int64_t>(c_.N * std::max<int64_t>(P_, 1), 1));
    int64_t share = std::min(ceil_div(c_.C, least_shares), kWeightFloats / (c_.R * c_.S));
    share = std::max<int64_t>(round_up(share, kShare), kShare);
    if (in_place_) return share;
    const bool turned = c_.layout == Layout::nchw;
    const int64_t fitting =
        (turned ? kStripFloats / (high(P_).size * width_) : kCopyFloats / (high(1).size * width_)) /
        kLine * kLine;
    share = std::min({share, std::max(fitting, kLine), c_.C});
    while (share > kLine && slot_floats(high(1), share) > most_)
      share = (ceil_div(share, kLine) - 1) * kLine;
    return share;
  }
  /// In place: of so many columns that the input rows of an output row stay in L1 for the next one.
  int64_t columns_of_segment() const {
    const int64_t fitting = kRowsFloats / (c_.R * c_.stride_w * std::min(share_, c_.C));
    const int64_t segments = ceil_div(Q_, std::max(fitting, kLine));
    return in_place_ ? ceil_div(Q_, segments) : Q_;
  }
  Axis rows_of_copy() const {
    int64_t rows = ceil_div(P_, bands_);
    while (rows > 1 && (high(rows).size * width_ * share_ > kCopyFloats ||
                        slot_floats(high(rows), share_) > most_))
      --rows;
    return high(rows);
  }
  // A slot: rows of the input, pixel by pixel, rows of sums the same way, and what is between them
  // and planes of halves.
  int64_t copy_floats(const Axis& high, int64_t share) const {
    return round_up(high.size * width_ * share, kLine);
  }
  int64_t sums_floats(const Axis& high, int64_t share) const {
    return round_up(high.outputs * Q_ * share, kLine);
  }
  int64_t slot_floats(const Axis& high, int64_t share) const {
    const bool room = c_.layout == Layout::nchw && !turn_.straight(1);
    return copy_floats(high, share) + sums_floats(high, share) +
           (room ? Turn::kPlanes * std::max(rows_at_once(high) * c_.W, high.outputs * Q_) : 0);
  }

  /// Input rows that lie together in the copy, too.
  int64_t rows_at_once(const Axis& high) const {
    return !padded_ && high.shared() ? std::min(high.size, c_.H) : 1;
  }

  void band_in_place(const Call& io, const Part& part) const {
    const int64_t pitch = c_.W * c_.C, p = part.begin;
    rows(io, part, p, part.end - p,
         {static_cast<const float*>(io.x),
          (part.n * c_.H + p * c_.stride_h - c_.pad_top) * pitch + part.first, c_.stride_h * pitch,
          c_.dilation_h * pitch, c_.C, io.floats(((part.n * P_ + p) * Q_) * c_.C + part.first),
          c_.C});
  }

  /// A few rows at a time.
  void band_of_copies(const Call& io, const Part& part, float* slot) const {
    const int64_t pitch = width_ * part.channels;
    float* sums = slot + copy_floats(high_, share_);
    float* room = sums + sums_floats(high_, share_);
    for (int64_t p0 = part.begin; p0 < part.end; p0 += high_.outputs) {
      const int64_t some = std::min(high_.outputs, part.end - p0);
      copy_input(io, part, p0, some, slot, room);
      rows(io, part, p0, some,
           {slot, 0, high_.per_output * pitch, high_.per_tap * pitch, part.channels, sums,
            part.channels});
      store(io, part, p0, some, sums, room);
    }
  }

  void copy_input(const Call& io, const Part& part, int64_t p, int64_t rows, float* to,
                  float* room) const {
    const int64_t top = p * c_.stride_h - c_.pad_top, size = high_.size_for(rows);
    if (rows_at_once(high_) > 1) {
      const Inside in(top, 1, size, c_.H);
      copy_row(io, part, top + in.begin, in.size() * c_.W, to + in.begin * width_ * part.channels,
               room);
      return;
    }
    const int64_t left = padded_ ? std::min(c_.pad_left, width_) : 0;
    const int64_t columns = std::min(c_.W, width_ - left), channels = part.channels;
    for (int64_t i = 0; i < size; ++i, to += width_ * channels) {
      const int64_t h = top + high_.source(i);
      if (h < 0 || h >= c_.H) continue;
      std::fill_n(to, left * channels, 0.0f);
      copy_row(io, part, h, columns, to + left * channels, room);
      std::fill(to + (left + columns) * channels, to + width_ * channels, 0.0f);
    }
  }

  /// Columns [0, columns) of input row h, and on into the next rows.
  void copy_row(const Call& io, const Part& part, int64_t h, int64_t columns, float* to,
                float* room) const {
    const int64_t channels = part.channels;
    if (c_.layout == Layout::nhwc) {
      const int64_t x = (part.n * c_.H + h) * c_.W * c_.C + part.first;
      rows_to_f32(convert_, convert_.at(io.x, x), c_.C, to, channels, columns, channels);
      return;
    }
    turn_.to_pixels(convert_.at(io.x, ((part.n * c_.C + part.first) * c_.H + h) * c_.W),
                    c_.H * c_.W, channels, 1, columns, room, to, channels);
  }

  void store(const Call& io, const Part& part, int64_t p, int64_t rows, const float* sums,
             float* room) const {
    const int64_t pixels = rows * Q_, plane = P_ * Q_;
    if (c_.layout == Layout::nhwc) {
      const int64_t y = (part.n * P_ + p) * Q_ * c_.C + part.first;
      rows_from_f32(convert_, sums, part.channels, convert_.at(io.y, y), c_.C, pixels,
                    part.channels, false);
      return;
    }
    const int64_t y = ((part.n * c_.C + part.first) * P_ + p) * Q_;
    turn_.to_planes(sums, part.channels, part.channels, 1, pixels, room, convert_.at(io.y, y),
                    plane);
  }

  /// Output rows [p, p + rows).
  void rows(const Call& io, const Part& part, int64_t p, int64_t rows, const Place& at) const {
    depthwise::Pixels all{};
    all.bias = io.bias ? io.bias + part.first : nullptr;
    all.x_down = at.x_down;
    all.x_row = at.x_row;
    all.x_column = c_.dilation_w * at.x_pixel;
    all.x_pixel = c_.stride_w * at.x_pixel;
    all.w_row = c_.S * c_.C;
    all.w_column = c_.C;
    all.y_down = Q_ * at.y_pixel;
    all.y_pixel = at.y_pixel;
    all.top = p * c_.stride_h - c_.pad_top;
    all.stride = c_.stride_h;
    all.dilation = c_.dilation_h;
    all.H = c_.H;
    all.R = c_.R;
    all.rows = rows;
    all.channels = part.channels;
    all.clamp = clamp_of(c_.activation);
    for (const std::vector<Run>& segment : segments_)
      for (const Run& run : segment) {
        depthwise::Pixels some = all;
        some.S = run.taps.size();
        some.pixels = run.pixels;
        some.first = shared_ ? ceil_div(c_.pad_left, c_.dilation_w) - run.q : 0;
        some.last = shared_ ? ceil_div(c_.W + c_.pad_left, c_.dilation_w) - run.q
                            : std::numeric_limits<int64_t>::max();
        const int64_t column =
            run.q * c_.stride_w - (padded_ ? 0 : c_.pad_left) + run.taps.begin * c_.dilation_w;
        some.x = at.x + at.at + column * at.x_pixel;
        some.w = io.w + part.first + run.taps.begin * c_.C;
        some.y = at.y + run.q * at.y_pixel;
        kernels_.pixels(some);
      }
  }

  bool in_place_;  // or from a copy of the input
  int64_t span_;   // columns from the first that a row reads to the last
  bool shared_;    // tiles leave out columns at the borders; strided ones gain nothing by it
  bool padded_;    // the copy has columns of zeros: all outputs of a row are alike
  int64_t width_;  // columns of what is read
  int64_t most_;   // floats of a slot
  Turn turn_;
  int64_t share_, shares_;  // channels of a task, and how many of those
  int64_t bands_;           // of output rows of an image
  int64_t segment_;         // columns of a row that are done together
  Axis high_;               // of the rows whose input is copied together
  Slots slots_;
  std::vector<std::vector<Run>> segments_;  // of an output row
};

/// NCHW whose rows are short, or read every second column by 5x5 taps; there rows pay where 7 of 8
/// lanes are used: 20 columns took 1.3 of the time on AVX-512, 16 and 28 columns 0.66 and 0.77. By
/// 3x3 taps 17 to 49 columns took 0.5 to 0.8.
bool by_channels(const Context& context, const ConvProblem& p) {
  if (p.layout == Layout::nhwc) return true;
  const int64_t lanes = depthwise::kernels_of(context.isa()).lanes;
  if (p.K_per_group() > 1 || p.C < lanes) return false;
  if (p.Q() < lanes || p.stride_w == 1) return p.Q() < lanes;
  return !DepthwiseByRows::takes(context, p) || (p.R > 3 && 8 * p.Q() < 7 * round_up(p.Q(), lanes));
}

/// Fitted on Zen 4 with AVX-512, 3x3 to 7x7 with strides of 1 and 2 of 32 to 960 channels: rows and
/// NHWC within a quarter, what is turned to channels 0.9 to 1.6 of the time.
double seconds(const Context& context, const ConvProblem& p) {
  const int64_t lanes = depthwise::kernels_of(context.isa()).lanes;
  const double taps = double(p.R * p.S), inputs = double(p.N * p.C * p.H * p.W);
  const double outputs = double(p.N * p.P() * p.Q());  // of a channel
  double cycles = 0;
  if (by_channels(context, p)) {
    cycles = outputs * double(ceil_div(p.C, lanes)) * (taps + 3) + 0.2 * inputs;
    if (p.layout == Layout::nchw) cycles += 0.8 * (inputs + outputs * double(p.C));  // turned
  } else {
    const double vectors = double(p.N * p.K * p.P() * ceil_div(p.Q(), lanes));
    if (DepthwiseByRows::takes(context, p))
      cycles = vectors * (taps + 3) + 0.2 * inputs;
    else
      cycles = vectors * (2 * taps + 3) + 25.0 * double(p.N * p.C * p.H) +  // rows of strips
               (p.stride_w > 1 ? 1.0 : 0.2) * inputs;
  }
  return 2e-6 + cycles / (3.65e9 * context.threads());
}

}  // namespace

KernelRow depthwise_row(const Context& context) {
  KernelRow row;
  row.name = "depthwise";
  row.summary =
      "one input channel a group: vectors of columns (NCHW) or channels (NHWC), mostly in place";
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.supports = [](const ConvProblem& p) -> std::string {
    if (p.C_per_group() != 1)
      return fmt::format("C/groups is {}, but depthwise takes 1 input channel a group",
                         p.C_per_group());
    if (p.layout == Layout::nhwc && p.K_per_group() != 1)
      return fmt::format("K/groups is {}, but depthwise in nhwc takes 1 output channel a group",
                         p.K_per_group());
    return {};
  };
  row.cost = [&context](const ConvProblem& p) { return seconds(context, p); };
  row.make = [&context](const ConvProblem& p) -> std::unique_ptr<const PreparedConv> {
    if (by_channels(context, p)) return std::make_unique<DepthwiseByChannels>(context, p);
    if (DepthwiseByRows::takes(context, p)) return std::make_unique<DepthwiseByRows>(context, p);
    return std::make_unique<DepthwiseByPlanes>(context, p);
  };
  return row;
}

}  // namespace metalconv::cpu
