// SPDX-License-Identifier: Apache-2.0
#pragma once

struct CGSize {
  double width, height;
};
