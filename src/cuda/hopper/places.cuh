// SPDX-License-Identifier: Apache-2.0
// Which part of the work is whose: items, tiles, the pixels that their rows are, and the terms of
// the reduction. Macros: see conv.cu.

// Granlund and Montgomery, Division by invariant integers using multiplication (1994): exact for
// numbers below 2^31.
struct Divisor {
  int by;
  word multiplier, shift;
};
FN Divisor divisor(int by) {
  Divisor d;
  d.by = by;
  d.shift = by > 1 ? 31 - __clz(by - 1) : 0;  // ceil(log2(by)) - 1
  d.multiplier = by > 1 ? word(((1ull << (32 + d.shift)) + by - 1) / by) : 0;
  return d;
}
FN int divide(int number, const Divisor& d) {
  return d.by == 1 ? number : int(__umulhi(word(number), d.multiplier) >> d.shift);
}

// What chunk of 16 bytes an image of weights holds at a place: of which tap, and of which channels.
struct Term {
  int tap, chunk;
};
FN Term term_of(int image, int place, const HopperParams& p) {
#if HALO
  const int taps = p.R * p.S;
  return {place < X_CHUNKS ? image % taps : taps, image / taps * X_CHUNKS + place};
#else
  const int chunks = p.C / p.groups / IN_CHUNK, number = image * 8 + place;
  return {number / chunks, number % chunks};
#endif
}

struct Item {
  int block, g, tile, part, first, last;
};
FN Item item_at(int number, const HopperParams& p) {
  Item item;
  item.block = number % p.blocks;
  number /= p.blocks;
  item.g = number % p.groups;
  number /= p.groups;
  item.tile = number % p.tiles;
  item.part = number / p.tiles;
  item.first = int((long long)p.steps * item.part / p.splits);
  item.last = int((long long)p.steps * (item.part + 1) / p.splits);
  return item;
}

// Which output a row of a tile is.
struct Geometry {
  Divisor by_image, by_row;  // of what tiles cover
#if HALO
  Divisor by_pitch;
#endif
};
FN Geometry geometry_of(const HopperParams& p) {
  Geometry geometry;
#if HALO
  geometry.by_image = divisor(p.cover_h * p.cover_w);
  geometry.by_row = divisor(p.cover_w);
  geometry.by_pitch = divisor(p.pitch);
#else
  geometry.by_image = divisor(p.P * p.Q);
  geometry.by_row = divisor(p.Q);
#endif
  return geometry;
}
struct Place {
  int n, h, w;
};
FN Place place_at(int number, const Geometry& geometry) {
  Place place;
  place.n = divide(number, geometry.by_image);
  number -= place.n * geometry.by_image.by;
  place.h = divide(number, geometry.by_row);
  place.w = number - place.h * geometry.by_row.by;
  return place;
}
#if HALO
// Where a tile begins. Tiles of blocks: which image and its first output; cover_h x cover_w tiles
// are an image. Tiles of lines: a number of positions, of which an image has cover_h x cover_w.
struct Corner {
  Place at;
  int position;
};
FN Corner corner_of(int tile, const Geometry& geometry, const HopperParams& p) {
  Corner corner;
  corner.position = tile * ROWS;
  corner.at = place_at(p.lines ? 0 : tile, geometry);
  corner.at.h *= p.tile_h;
  corner.at.w *= p.tile_w;
  return corner;
}
// The offset of row i of the inputs under a tile, or -1 for zeros.
FN int input_of(int i, const Corner& corner, const Geometry& geometry, const HopperParams& p) {
  Place at;
  if (p.lines) {
    at = place_at(corner.position + i, geometry);
  } else {
    const int row = divide(i, geometry.by_pitch);
    at = {corner.at.n, corner.at.h + row, corner.at.w + i - row * p.pitch};
  }
  at.h -= p.pad_top;
  at.w -= p.pad_left;
  const bool exists = at.n < p.N && word(at.h) < word(p.H) && word(at.w) < word(p.W);
  return exists ? ((at.n * p.H + at.h) * p.W + at.w) * p.C : -1;
}
// Where the first row of a row block lies among them.
FN int block_at(int block, const HopperParams& p) {
  if (p.lines) return block * 64;
  const int across = p.tile_w / 8;
  return block / across * 8 * p.pitch + block % across * 8;
}
#endif
// The pixel of the output, or -1.
FN int pixel_of(int row, const Item& item, const Geometry& geometry, const HopperParams& p) {
#if HALO
  const Corner corner = corner_of(item.tile, geometry, p);
  Place at;
  if (p.lines) {
    at = place_at(corner.position + row, geometry);
  } else {
    const int across = p.tile_w / 8, block = row / 64;
    at = {corner.at.n, corner.at.h + block / across * 8 + row % 64 / 8,
          corner.at.w + block % across * 8 + row % 8};
  }
  return at.n < p.N && at.h < p.P && at.w < p.Q ? (at.n * p.P + at.h) * p.Q + at.w : -1;
#else
  const int pixel = item.tile * ROWS + row;
  return pixel < p.pixels ? pixel : -1;
#endif
}
