// SPDX-License-Identifier: Apache-2.0
#include "cpu/transpose.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "metalconv/cpu.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

class TransposeOn : public testing::TestWithParam<std::string> {};

/// All sizes around those of the tiles, with either side the wider one, and nothing beside them.
TEST_P(TransposeOn, AnySizeEveryPlace) {
  constexpr float kBeside = -1.0f;
  const Transpose run = transpose_of(GetParam());
  for (int64_t rows = 1; rows <= 35; ++rows)
    for (int64_t columns = 1; columns <= 19; ++columns)
      for (const bool wide : {false, true}) {
        const int64_t from_step = columns + (wide ? 50 : 0), to_step = rows + (wide ? 0 : 50);
        std::vector<float> from(std::size_t((rows - 1) * from_step + columns)), to;
        for (std::size_t i = 0; i < from.size(); ++i) from[i] = float(i);
        to.assign(std::size_t(columns * to_step), kBeside);
        run(from.data(), from_step, rows, columns, to.data(), to_step);
        for (int64_t i = 0; i < columns; ++i)
          for (int64_t r = 0; r < to_step; ++r)
            ASSERT_EQ(to[std::size_t(i * to_step + r)],
                      r < rows ? float(r * from_step + i) : kBeside)
                << rows << " x " << columns << ", row " << r << ", column " << i;
      }
}

INSTANTIATE_TEST_SUITE_P(Cpu, TransposeOn, testing::ValuesIn(cpu_isas()),
                         [](const auto& isa) { return isa.param; });

}  // namespace
}  // namespace metalconv::cpu
