// SPDX-License-Identifier: Apache-2.0
#include "bench/faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using std::int64_t;
using Bytes = std::vector<std::byte>;

void run(Subject& s) {
  s.execute();
  s.queue().wait();
}

std::string shows_in_outputs(const ConvProblem& p) {
  return p.y_elements() == 0 ? "its output is empty" : "";
}

/// "MPS" of the published benchmark: the output is filled with zeros.
void zero_fill(Subject& s) { s.operands().y.upload(Bytes(s.operands().y.bytes(), std::byte{0})); }

/// Its optimized kernel: the last two output rows are never written.
void stale_rows(Subject& s) {
  const Bytes before = s.operands().y.download();
  run(s);
  Bytes y = s.operands().y.download();
  const ConvProblem& p = s.plan().problem();
  const TensorView v = y_view(p, {});
  const auto size = size_of(p.dtype);
  for (int64_t n = 0; n < p.N; ++n)
    for (int64_t k = 0; k < p.K; ++k)
      for (int64_t row = std::max<int64_t>(p.P() - 2, 0); row < p.P(); ++row)
        for (int64_t q = 0; q < p.Q(); ++q) {
          const auto i =
              n * v.strides[0] + k * v.strides[1] + row * v.strides[2] + q * v.strides[3];
          std::memcpy(y.data() + std::size_t(i) * size, before.data() + std::size_t(i) * size,
                      size);
        }
  s.operands().y.upload(y);
}

/// Run the same kernel on `changed` with these inputs, and leave what overlaps of its output in y.
void run_changed(Subject& s, const ConvProblem& changed, const Bytes& x) {
  Device& device = s.device();
  const ConvProblem& p = s.plan().problem();
  Operands other(device, changed);
  other.x.upload(x);
  other.w.upload(s.operands().w.download());
  if (p.bias) other.bias.upload(s.operands().bias.download());
  Subject faulty(device, s.queue(),
                 make_plan(device, changed, {s.plan().row().implementation, s.plan().row().name}),
                 other);
  faulty.pack();
  run(faulty);
  const Bytes from = other.y.download();
  Bytes y = s.operands().y.download();
  const TensorView a = y_view(changed, {}), b = y_view(p, {});
  const auto size = size_of(p.dtype);
  for (int64_t n = 0; n < p.N; ++n)
    for (int64_t k = 0; k < p.K; ++k)
      for (int64_t row = 0; row < std::min(changed.P(), p.P()); ++row)
        for (int64_t q = 0; q < std::min(changed.Q(), p.Q()); ++q) {
          const auto at = [&](const TensorView& v) {
            return std::size_t(n * v.strides[0] + k * v.strides[1] + row * v.strides[2] +
                               q * v.strides[3]) *
                   size;
          };
          std::memcpy(y.data() + at(b), from.data() + at(a), size);
        }
  s.operands().y.upload(y);
}

/// An off-by-one in the padding: everything one pixel to the right.
void shifted_padding(Subject& s) {
  ConvProblem changed = s.plan().problem();
  ++changed.pad_left;
  changed.pad_right = std::max<int64_t>(changed.pad_right - 1, 0);
  run_changed(s, changed, s.operands().x.download());
}

void swapped_strides(Subject& s) {
  ConvProblem changed = s.plan().problem();
  std::swap(changed.stride_h, changed.stride_w);
  run_changed(s, changed, s.operands().x.download());
}

/// Every group reads the first group's channels.
void dropped_group(Subject& s) {
  const ConvProblem& p = s.plan().problem();
  Bytes x = s.operands().x.download();
  const TensorView v = x_view(p, {});
  const auto size = size_of(p.dtype);
  for (int64_t n = 0; n < p.N; ++n)
    for (int64_t c = p.C_per_group(); c < p.C; ++c)
      for (int64_t h = 0; h < p.H; ++h)
        for (int64_t w = 0; w < p.W; ++w) {
          const auto at = [&](int64_t channel) {
            return std::size_t(n * v.strides[0] + channel * v.strides[1] + h * v.strides[2] +
                               w * v.strides[3]) *
                   size;
          };
          std::memcpy(x.data() + at(c), x.data() + at(c % p.C_per_group()), size);
        }
  run_changed(s, p, x);
}

/// One output is NaN.
void nan(Subject& s) {
  run(s);
  Bytes y = s.operands().y.download();
  const auto size = size_of(s.plan().problem().dtype);
  std::memset(y.data() + y.size() / size / 2 * size, 0xFF, size);
  s.operands().y.upload(y);
}

}  // namespace

const std::vector<Fault>& faults() {
  static const std::vector<Fault> all{
      {"zero-fill", "the output is filled with zeros", shows_in_outputs, zero_fill},
      {"stale-rows", "the last two output rows are not written", shows_in_outputs, stale_rows},
      {"shifted-padding", "the left padding is one too large", shows_in_outputs, shifted_padding},
      {"swapped-strides", "the strides along H and W are swapped",
       [](const ConvProblem& p) -> std::string {
         if (p.stride_h == p.stride_w) return "its strides along H and W are equal";
         if (p.P() == 1 && p.Q() == 1) return "it has one output pixel";
         return shows_in_outputs(p);
       },
       swapped_strides},
      {"dropped-group", "every group reads the first group's channels",
       [](const ConvProblem& p) {
         return p.groups == 1 ? "it has one group" : shows_in_outputs(p);
       },
       dropped_group},
      {"nan", "one output is NaN", shows_in_outputs, nan}};
  return all;
}

const Fault& find_fault(std::string_view name) {
  std::string known;
  for (const Fault& f : faults()) {
    if (f.name == name) return f;
    known += (known.empty() ? "" : ", ") + f.name;
  }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("fault is '{}', but must be one of {}", name, known));
}

ConvProblem fault_problem() { return parse_problem("2x6x33x35,k16,3x3,s1x2,p1,g2,bias"); }

}  // namespace metalconv::bench
