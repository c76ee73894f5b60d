// SPDX-License-Identifier: Apache-2.0
// How the Winograd kernel divides its work: tiles, what a task has of them, and its thread's slot.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cpu/arithmetic.h"
#include "cpu/context.h"
#include "cpu/general.h"
#include "metalconv/problem.h"

namespace metalconv::cpu::winograd_tiles {

/// One dimension of the outputs in tiles. Outputs that are the dilation apart belong together: they
/// make one of `steps` images that are not dilated, whose tiles come one after the other.
struct Tiling {
  Tiling(std::int64_t dilation, std::int64_t outputs, std::int64_t m)
      : step(std::min(dilation, outputs)),
        size(outputs),
        in_image(ceil_div(size, step * m)),
        m_(m) {}

  std::int64_t tiles() const { return step * in_image; }
  /// The first output of a tile; those after it are `step` apart.
  std::int64_t first(std::int64_t tile) const {
    return tile / in_image + tile % in_image * m_ * step;
  }
  /// Of `n` outputs from `output` on, those that exist.
  std::int64_t existing(std::int64_t output, std::int64_t n) const {
    return std::clamp<std::int64_t>(ceil_div(size - output, step), 0, n);
  }

  std::int64_t step, size;
  std::int64_t in_image;  ///< tiles

 private:
  std::int64_t m_;
};

/// Sizes that follow from the problem and the instruction set.
struct Shape {
  Shape(const Context& context, const ConvProblem& problem, int outputs)
      : c(problem),
        gemm(general::kernels_of(context.isa())),
        m(outputs),
        span(outputs + 2),
        products(span * span),
        nchw(problem.layout == Layout::nchw),
        lanes(gemm.lanes),
        C(problem.C_per_group()),
        K(problem.K_per_group()),
        rows(problem.dilation_h, problem.P(), m),
        columns(problem.dilation_w, problem.Q(), m),
        tiles(problem.N * rows.tiles() * columns.tiles()),
        padded(round_up(K, lanes)),
        piece(lanes >= m && columns.in_image % (lanes / m) == 0 ? lanes / m : 0) {}

  /// Output channels of a register tile.
  std::int64_t block(bool by_pixels) const {
    return by_pixels ? gemm.channels : gemm.channel_vectors * lanes;
  }

  ConvProblem c;
  const general::Kernels& gemm;
  std::int64_t m, span, products;
  bool nchw;
  std::int64_t lanes, C, K;
  Tiling rows, columns;
  std::int64_t tiles;
  std::int64_t padded;  ///< K up to whole vectors
  std::int64_t piece;   ///< tiles whose pixels fill a vector, if they divide a row; else 0
};

struct Blocking {
  bool by_pixels = false;  ///< vectors hold neighbouring tiles (NCHW only), else channels
  std::int64_t tiles = 1;  ///< of a task
  std::int64_t group = 1;  ///< output channels whose products are there together; whole blocks
  std::int64_t chunk =
      1;  ///< input channels that are there together; for each group anew, if not all
  std::int64_t splits = 1;  ///< tasks that share the output channels of the same tiles
  std::int64_t excess =
      std::numeric_limits<std::int64_t>::max();              ///< bytes of memory above the limit
  double seconds = std::numeric_limits<double>::infinity();  ///< estimated
};

/// Tiles whose lines are there together where vectors hold channels.
constexpr std::int64_t kChannelRun = 4;
/// ... and channels.
constexpr std::int64_t kLineChannels = 32;

/// Places in a thread's slot, in floats.
struct Layouts {
  Layouts(const Shape& s, const Blocking& b)
      : width(round_up(b.tiles, s.lanes)),
        // Runs of parts of vectors are written whole.
        pitch(!b.by_pixels ? b.chunk
              : s.piece    ? width
                           : width + s.lanes),
        v_step(spread(b.by_pixels ? b.chunk * pitch : b.tiles * b.chunk)),
        m_step(spread((b.by_pixels ? width : b.tiles) * b.group)),
        run(b.by_pixels ? std::min(2 * s.lanes, width) : kChannelRun),
        pixel(b.by_pixels ? 1 : std::min(std::max(b.chunk, b.group), kLineChannels)),
        line(!b.by_pixels ? (run * s.m + 2) * pixel
             : s.piece    ? ceil_div(run, s.piece) * 2 * s.lanes + s.lanes
                          : round_up(run * s.m + 2, s.lanes) + 4 * s.lanes),
        m_at(s.products * v_step + kLine),
        lines_at(m_at + s.products * m_step + kLine),
        floats(lines_at + s.span * line + 4 * s.lanes) {}

  std::int64_t width;           ///< pixels last: tiles, up to whole vectors
  std::int64_t pitch;           ///< of V, from channel to channel (pixels last) or tile to tile
  std::int64_t v_step, m_step;  ///< from product to product
  std::int64_t run;             ///< tiles whose lines are there together
  std::int64_t pixel, line;     ///< of lines, from pixel to pixel and from line to line
  std::int64_t m_at, lines_at, floats;
};

/// What weights that no cache holds take at least, however the work is divided.
double seconds_from_memory(const Context& context, const Shape& shape);

/// The fastest by estimate, of those within the memory that is allowed.
Blocking choose_blocking(const Context& context, const Shape& shape);

}  // namespace metalconv::cpu::winograd_tiles
