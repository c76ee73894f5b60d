// SPDX-License-Identifier: Apache-2.0
// Which part of the work is whose: items, tiles, the pixels that their rows are, and the terms of
// the reduction. Macros: see conv.cu.

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
// The remainder; the quotient stays.
FN int take(int& number, const Divisor& d) {
  const int quotient = divide(number, d);
  const int rest = number - quotient * d.by;
  number = quotient;
  return rest;
}
// Those that run at once share inputs, or weights where these are more than caches hold.
FN Item item_at(int number, const HopperParams& p) {
  Item item;
  item.block = take(number, p.by_blocks);
  if (p.groups_last) {
    item.tile = take(number, p.by_tiles);
    item.g = take(number, p.by_groups);
  } else {
    item.g = take(number, p.by_groups);
    item.tile = take(number, p.by_tiles);
  }
  item.part = number;
#if PARTIAL
  item.first = int((long long)p.steps * item.part / p.splits);
  item.last = int((long long)p.steps * (item.part + 1) / p.splits);
#else
  item.first = 0;
  item.last = p.steps;
#endif
  return item;
}

// Which output a row of a tile is.
struct Place {
  int n, h, w;
};
FN Place place_at(int number, const HopperParams& p) {
  Place place;
  place.n = divide(number, p.by_image);
  number -= place.n * p.by_image.by;
  place.h = divide(number, p.by_row);
  place.w = number - place.h * p.by_row.by;
  return place;
}
#if HALO
// Where a tile begins. Tiles of blocks: which image and its first output; cover_h x cover_w tiles
// are an image. Tiles of lines: a number of positions, of which an image has cover_h x cover_w.
struct Corner {
  Place at;
  int position;
};
FN Corner corner_of(int tile, const HopperParams& p) {
  Corner corner;
  corner.position = tile * ROWS;
  corner.at = place_at(p.lines ? 0 : tile, p);
  corner.at.h *= p.tile_h;
  corner.at.w *= p.tile_w;
  return corner;
}
// The offset of row i of the inputs under a tile, or -1 for zeros.
FN int input_of(int i, const Corner& corner, const HopperParams& p) {
  Place at;
  if (p.lines) {
    at = place_at(corner.position + i, p);
  } else {
    const int row = divide(i, p.by_pitch);
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
FN int pixel_of(int row, const Item& item, const HopperParams& p) {
#if HALO
  const Corner corner = corner_of(item.tile, p);
  Place at;
  if (p.lines) {
    at = place_at(corner.position + row, p);
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
