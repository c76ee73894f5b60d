// SPDX-License-Identifier: Apache-2.0
// A picture to try filters on, for who has none at hand.
#pragma once

#include "image/picture.h"

namespace metalconv::image {

/// 800 x 600, computed: gradients (sky, sun), textures (mountains, bricks, water), edges of all
/// directions and colours (a balloon, a tower) and a chequered floor that becomes finer with
/// distance. The same on every machine but for the rounding of its mathematical functions.
Picture demo_picture();

}  // namespace metalconv::image
