// SPDX-License-Identifier: Apache-2.0
#include "cpu/convert.h"

#include "cpu/isa.h"  // before Highway

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cpu/arithmetic.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/convert.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef METALCONV_CPU_CONVERTERS  // once, not once a target
#define METALCONV_CPU_CONVERTERS
namespace metalconv::cpu {
struct Converters {
  std::int64_t target;
  Converter f32, f16, bf16;
};
}  // namespace metalconv::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::convert {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using std::int64_t;

// Elsewhere Highway's own conversion of f16 truncates and loses NaN.
constexpr bool kNativeF16 = (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2) || HWY_ARCH_ARM_A64;

template <class D>
using Bits = hn::Vec<hn::RebindToUnsigned<D>>;

/// The 16 bits of each element, widened, in `d`'s floats.
template <class D>
HWY_INLINE Bits<D> Load16(D, const std::uint16_t* from) {
  const hn::RebindToUnsigned<D> du;
  return hn::PromoteTo(du, hn::LoadU(hn::Rebind<std::uint16_t, D>(), from));
}

/// Of bits below 2^16.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, D>> Narrow(D, Bits<D> bits) {
  const hn::RebindToSigned<D> di;
  return hn::DemoteTo(hn::Rebind<std::uint16_t, D>(), hn::BitCast(di, bits));
}

struct Bf16 {
  template <class D>
  static HWY_INLINE hn::Vec<D> Decode(D d, const std::uint16_t* from) {
    return hn::BitCast(d, hn::ShiftLeft<16>(Load16(d, from)));
  }

  template <class D>
  static HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, D>> Encode(D d, hn::Vec<D> v) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::BitCast(du, v), high = hn::ShiftRight<16>(bits);
    const auto odd = hn::And(high, hn::Set(du, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF))));
    const auto quiet = hn::Or(high, hn::Set(du, 0x40));
    return Narrow(d, hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded));
  }
};

struct F16 {
  template <class D>
  static HWY_INLINE hn::Vec<D> Decode(D d, const std::uint16_t* from) {
    if constexpr (kNativeF16) {
      const hn::Rebind<hwy::float16_t, D> half;
      return hn::PromoteTo(d, hn::BitCast(half, hn::LoadU(hn::Rebind<std::uint16_t, D>(), from)));
    } else {
      const hn::RebindToUnsigned<D> du;
      const hn::RebindToSigned<D> di;
      const auto bits = Load16(d, from);
      const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000)));
      const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFF));
      const auto rebias = hn::Set(du, 112u << 23);
      const auto normal = hn::Add(hn::ShiftLeft<13>(magnitude), rebias);
      // Infinity and NaN: the exponent is the largest here, too.
      const auto special = hn::Add(normal, rebias);
      // Zeros and subnormals: a count of the smallest steps.
      const auto small = hn::BitCast(
          du, hn::Mul(hn::ConvertTo(d, hn::BitCast(di, magnitude)), hn::Set(d, 0x1p-24f)));
      const auto below = [&](std::uint32_t limit) {
        return hn::RebindMask(du,
                              hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, std::int32_t(limit))));
      };
      const auto large = hn::IfThenElse(below(0x7C00), normal, special);
      return hn::BitCast(d, hn::Or(sign, hn::IfThenElse(below(0x0400), small, large)));
    }
  }

  template <class D>
  static HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, D>> Encode(D d, hn::Vec<D> v) {
    if constexpr (kNativeF16) {
      const hn::Rebind<hwy::float16_t, D> half;
      return hn::BitCast(hn::Rebind<std::uint16_t, D>(), hn::DemoteTo(half, v));
    } else {
      const hn::RebindToUnsigned<D> du;
      const hn::RebindToSigned<D> di;
      const auto bits = hn::BitCast(du, v), magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFF));
      const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000));
      // A carry out of the fraction moves on to the next exponent, up to infinity.
      const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1));
      const auto up = hn::Add(hn::Add(magnitude, odd), hn::Set(du, 0xFFF));
      const auto normal = hn::ShiftRight<13>(hn::Sub(up, hn::Set(du, 112u << 23)));
      // Beside 1/2 floats have the steps of the subnormals.
      const auto half = hn::Set(d, 0.5f);
      const auto small =
          hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, magnitude), half)), hn::BitCast(du, half));
      const auto fraction = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 0x3FF));
      const auto nan = hn::Or(fraction, hn::Set(du, 0x7E00));
      const auto below = [&](std::uint32_t limit) {
        return hn::RebindMask(du,
                              hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, std::int32_t(limit))));
      };
      auto result = hn::IfThenElse(below(0x38800000), small, normal);           // 2^-14
      result = hn::IfThenElse(below(0x47800000), result, hn::Set(du, 0x7C00));  // 2^16
      result = hn::IfThenElse(below(0x7F800001), result, nan);
      return Narrow(d, hn::Or(sign, result));
    }
  }
};

/// step(d, i) does elements [i, i + lanes of d): whole vectors, the last of which overlaps the one
/// before it, so that little is left to single elements.
template <class Step>
HWY_INLINE void ForVectors(int64_t n, const Step& step) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const auto each = [&](auto tag) {
    const auto lanes = int64_t(hn::Lanes(tag));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) step(tag, i);
    if (i < n) step(tag, n - lanes);
  };
  if (n >= int64_t(hn::Lanes(d))) return each(d);
  if (n >= int64_t(hn::Lanes(d4))) return each(d4);
  each(hn::CappedTag<float, 1>());
}

template <class Format>
void ToF32(const void* from, float* to, int64_t n) {
  const auto* bits = static_cast<const std::uint16_t*>(from);
  ForVectors(n, [=](auto d, int64_t i) { hn::StoreU(Format::Decode(d, bits + i), d, to + i); });
}

void CopyToF32(const void* from, float* to, int64_t n) {
  copy_floats(static_cast<const float*>(from), n, to);
}

struct F32 {
  template <class D>
  static HWY_INLINE hn::Vec<D> Decode(D d, const float* from) {
    return hn::LoadU(d, from);
  }
};

/// Every second: what is even of two vectors of elements. The last vector overlaps the one before
/// it and takes the odd ones, so that nothing behind the last element is read.
template <class Format, class T>
HWY_INLINE void EverySecond(const T* from, float* to, int64_t n) {
#if HWY_TARGET != HWY_SCALAR
  const auto each = [=](auto d) {
    const auto lanes = int64_t(hn::Lanes(d));
    const auto at = [=](int64_t i) { return Format::Decode(d, from + i); };
    for (int64_t i = 0; i + lanes < n; i += lanes)
      hn::StoreU(hn::ConcatEven(d, at(2 * i + lanes), at(2 * i)), d, to + i);
    const int64_t last = 2 * (n - lanes) - 1;
    hn::StoreU(hn::ConcatOdd(d, at(last + lanes), at(last)), d, to + n - lanes);
  };
  const hn::ScalableTag<float> full;
  const hn::CappedTag<float, 4> four;
  if (n > int64_t(hn::Lanes(full))) return each(full);
  if (n > int64_t(hn::Lanes(four))) return each(four);
#endif
  const hn::CappedTag<float, 1> one;
  for (int64_t i = 0; i < n; ++i) hn::StoreU(Format::Decode(one, from + 2 * i), one, to + i);
}

template <class Format>
HWY_INLINE void Neighbours(const void* from, float* to, int64_t n) {
  if constexpr (std::is_same_v<Format, F32>)
    CopyToF32(from, to, n);
  else
    ToF32<Format>(from, to, n);
}

template <class Format, class T>
void Every(int64_t step, const void* from, float* to, int64_t n) {
  const auto* elements = static_cast<const T*>(from);
  if (step == 1) return Neighbours<Format>(from, to, n);
  if (step == 2) return EverySecond<Format>(elements, to, n);
  const hn::CappedTag<float, 1> one;
  for (int64_t i = 0; i < n; ++i) hn::StoreU(Format::Decode(one, elements + i * step), one, to + i);
}

template <class Format>
void FromF32(const float* from, void* to, int64_t n) {
  auto* bits = static_cast<std::uint16_t*>(to);
  ForVectors(n, [=](auto d, int64_t i) {
    const hn::Rebind<std::uint16_t, decltype(d)> d16;
    hn::StoreU(Format::Encode(d, hn::LoadU(d, from + i)), d16, bits + i);
  });
}

template <class Format>
void StreamFromF32(const float* from, void* to, int64_t n) {
  // x86 streams 16 bytes at least.
  if constexpr (HWY_LANES(float) < 8) return FromF32<Format>(from, to, n);
  const hn::ScalableTag<float> d;
  const hn::Rebind<std::uint16_t, decltype(d)> d16;
  const auto lanes = int64_t(hn::Lanes(d));
  auto* bits = static_cast<std::uint16_t*>(to);
  const auto past = int64_t(reinterpret_cast<std::uintptr_t>(to) / 2) & (lanes - 1);
  const int64_t begin = std::min(n, -past & (lanes - 1));
  const int64_t end = begin + (n - begin) / lanes * lanes;
  FromF32<Format>(from, bits, begin);
  for (int64_t i = begin; i < end; i += lanes)
    hn::Stream(Format::Encode(d, hn::LoadU(d, from + i)), d16, bits + i);
  FromF32<Format>(from + end, bits + end, n - end);
}

void CopyFromF32(const float* from, void* to, int64_t n) {
  std::memcpy(to, from, std::size_t(n) * sizeof(float));
}

const Converters* converters() {
  using u16 = std::uint16_t;
  static const Converters table{
      HWY_TARGET,
      {4, CopyToF32, Every<F32, float>, CopyFromF32, CopyFromF32},
      {2, ToF32<F16>, Every<F16, u16>, FromF32<F16>, StreamFromF32<F16>},
      {2, ToF32<Bf16>, Every<Bf16, u16>, FromF32<Bf16>, StreamFromF32<Bf16>}};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::convert
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu {

namespace convert {
HWY_EXPORT(converters);
}

const Converter& converter(std::string_view isa, DType dtype) {
  using namespace convert;
  const Converters& table = kernels_for(isa, HWY_DISPATCH_TABLE(converters));
  return dtype == DType::f32 ? table.f32 : dtype == DType::f16 ? table.f16 : table.bf16;
}

void rows_to_f32(const Converter& convert, const void* from, std::int64_t from_step, float* to,
                 std::int64_t to_step, std::int64_t rows, std::int64_t n) {
  if (from_step == n && to_step == n) return convert.to_f32(from, to, rows * n);
  for (std::int64_t i = 0; i < rows; ++i)
    convert.to_f32(convert.at(from, i * from_step), to + i * to_step, n);
}

void rows_from_f32(const Converter& convert, const float* from, std::int64_t from_step, void* to,
                   std::int64_t to_step, std::int64_t rows, std::int64_t n, bool stream) {
  const auto run = stream ? convert.stream_from_f32 : convert.from_f32;
  if (from_step == n && to_step == n) return run(from, to, rows * n);
  for (std::int64_t i = 0; i < rows; ++i) run(from + i * from_step, convert.at(to, i * to_step), n);
}

void every_from_f32(const Converter& convert, const float* from, std::int64_t n, void* to,
                    std::int64_t step) {
  if (step == 1) return convert.from_f32(from, to, n);
  if (convert.halves()) return rows_from_f32(convert, from, 1, to, step, n, 1, false);
  for (std::int64_t i = 0; i < n; ++i) static_cast<float*>(to)[i * step] = from[i];
}

Floats::Floats(const Converter& convert, const TensorView& view, std::int64_t n)
    : copy_(convert.halves() ? std::size_t(n) : 0) {
  if (convert.halves()) convert.to_f32(view.memory.address(), copy_.data(), n);
  data_ = convert.halves() ? copy_.data() : static_cast<const float*>(view.memory.address());
}

}  // namespace metalconv::cpu
#endif
