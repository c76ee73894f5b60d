// SPDX-License-Identifier: Apache-2.0
// Which Highway targets the kernels are compiled for. Include before any Highway header.
// Scalable vectors cannot stand in arrays, as register tiles do; the others add nothing to these
// kernels over SSE4 and AVX-512.
#pragma once
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
