// SPDX-License-Identifier: Apache-2.0
// A little of everything that kernels may use. Each kernel writes numbers that msl_dialect_test.cpp
// knows; ELEM is float, half or bfloat.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

#ifndef ELEM
#define ELEM float
#endif
#define THREADS 64

typedef ELEM elem;
typedef vec<elem, 4> elem4;

struct Params {
  int count;
  float scale;
};

constexpr constant int kTaps = 3;
constant float kWeights[kTaps] = {0.25, 0.5, 0.25};

template <class T, int N>
static inline T sum_of(thread const T (&values)[N]) {
  T total = T(0);
#pragma unroll
  for (int i = 0; i < N; ++i) total += values[i];
  return total;
}

static inline float tap(constant float* weights, device const float* x, int i,
                        constant Params& p) {
  return i < 0 || i >= p.count ? 0.0f : weights[i % kTaps] * x[i];
}

// Arithmetic of one thread: 32 numbers.
kernel void arithmetic(device const float* x [[buffer(0)]],
                       device float* y [[buffer(1)]],
                       constant Params& p [[buffer(2)]],
                       uint thread_index [[thread_position_in_grid]]) {
  if (thread_index != 0) return;
  const float4 a = *(device const float4*)x;
  const float4 b = float4(float2(1.0f), 2.0, -3.0f);
  float4 c = fma(a, b, float4(0.5f));
  c += 2.0f * a - b / 4.0f;
  *(device float4*)y = c;
  y[4] = dot(a, b);
  const half h = half(a.x) * half(3.0f) + 0.125h;
  y[5] = float(h);
  y[6] = float(half(65519.0f));
  y[7] = float(bfloat(1.00390625f));
  const half4 narrow = half4(a * 0.1f);
  y[8] = float(narrow.y);
  y[9] = float4(narrow).z;
  y[10] = as_type<float>(as_type<uint>(a.y) ^ 0x80000000u);
  y[11] = float(as_type<ushort>(half(1.0f)));
  y[12] = clamp(a.w, -1.0f, 1.0f);
  y[13] = select(1.0f, 2.0f, a.x > a.y);
  y[14] = max(a.x, a.y) + min(a.z, a.w);
  const int4 i = int4(a) % int4(3) + (int4(7) >> 1);
  y[15] = float(i.x + 10 * i.y + 100 * i.z + 1000 * i.w);
  y[16] = abs(-2.5f) + float(abs(-3)) + fabs(-0.25f);
  y[17] = floor(-1.5f) + ceil(1.25f) + sqrt(16.0f) + rsqrt(4.0f);
  y[18] = exp(0.0f) + log2(8.0f) + tanh(0.0f);
  float values[4] = {a.x, a.y, a.z, a.w};
  y[19] = sum_of(values);
  float taps = 0.0f;
  for (int k = -1; k < 6; ++k) taps += tap(kWeights, x, k, p);
  y[20] = taps * p.scale;
  const long wide = long(p.count) * 1000000000L;
  y[21] = float(wide / 1000000000L);
  const uchar4 bytes = as_type<uchar4>(0x04030201u);
  y[22] = float(bytes.x + bytes.y * 2 + bytes.z * 3 + bytes.w * 4);
  const float3 three = float3(a.x, float2(a.y, a.z));
  y[23] = three[0] + 2.0f * three[1] + 3.0f * three[2];
  y[24] = float(sizeof(float3)) + float(sizeof(half4)) + float(sizeof(elem));
  y[25] = float(elem(a.x) + elem(a.y));
  y[26] = float(elem4(elem(1)).w + elem4(a).x);
  y[27] = max(NAN, 1.0f);
  y[28] = isinf(INFINITY) && isnan(NAN) && !isfinite(INFINITY) ? 1.0f : 0.0f;
  y[29] = float(fma(half(2.0f), half(3.0f), half(0.5f)));
  y[30] = (a.x < b.x) == (a < b).x ? 1.0f : 0.0f;
  y[31] = float(ushort(70000u)) + float(uint(-1) == 0xFFFFFFFFu);
}

// What threads know of themselves: 12 numbers each.
kernel void positions(device uint* y [[buffer(0)]],
                      uint3 in_grid [[thread_position_in_grid]],
                      uint3 group [[threadgroup_position_in_grid]],
                      ushort3 in_group [[thread_position_in_threadgroup]],
                      uint3 threads [[threads_per_threadgroup]],
                      uint3 groups [[threadgroups_per_grid]],
                      uint3 all [[threads_per_grid]],
                      uint index [[thread_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]],
                      uint simdgroups [[simdgroups_per_threadgroup]],
                      ushort width [[threads_per_simdgroup]]) {
  const uint n = (in_grid.z * all.y + in_grid.y) * all.x + in_grid.x;
  device uint* out = y + n * 12;
  out[0] = group.x;
  out[1] = group.y;
  out[2] = group.z;
  out[3] = in_group.x;
  out[4] = in_group.y;
  out[5] = threads.x * 100 + threads.y * 10 + threads.z;
  out[6] = groups.x * 100 + groups.y * 10 + groups.z;
  out[7] = index;
  out[8] = lane;
  out[9] = simdgroup;
  out[10] = simdgroups;
  out[11] = width;
}

// Exchange across a simdgroup of values of several sizes: 12 numbers for each thread.
[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void exchange(device const float* x [[buffer(0)]],
              device float* y [[buffer(1)]],
              uint i [[thread_index_in_threadgroup]]) {
  const float v = x[i];
  device float* out = y + i * 12;
  out[0] = simd_shuffle(v, ushort(5));
  out[1] = simd_shuffle_xor(v, ushort(3));
  out[2] = simd_shuffle_down(v, ushort(2));
  out[3] = simd_shuffle_up(v, ushort(1));
  out[4] = simd_broadcast(v, ushort(31));
  out[5] = simd_sum(v);
  out[6] = simd_max(v);
  out[7] = simd_min(v);
  out[8] = float(simd_shuffle_xor(half(v), ushort(1)));
  const float4 moved = simd_shuffle_xor(float4(v, v + 1.0f, v + 2.0f, v + 3.0f), ushort(16));
  out[9] = moved.x + moved.w;
  out[10] = simd_any(v > 62.5f) ? 1.0f : 0.0f;
  out[11] = simd_all(v < 32.0f) ? 1.0f : 0.0f;
}

// Reverses the threads' numbers through threadgroup memory.
kernel void reverse(device const float* x [[buffer(0)]],
                    device float* y [[buffer(1)]],
                    uint i [[thread_index_in_threadgroup]],
                    uint2 group [[threadgroup_position_in_grid]]) {
  threadgroup float4 tile[THREADS / 4], last;
  threadgroup float* flat = (threadgroup float*)tile;
  device const float* from = x + group.x * THREADS;
  flat[i] = from[i];
  if (i == 0) last = float4(from[THREADS - 1]);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[group.x * THREADS + i] = flat[THREADS - 1 - i] + last.w;
}

// y = a b + 2, with a from rows of 16 and b transposed; then once more through operator*.
kernel void matrices(device const elem* a [[buffer(0)]],
                     device const elem* b [[buffer(1)]],
                     device float* y [[buffer(2)]],
                     uint i [[thread_index_in_threadgroup]]) {
  threadgroup elem tile[8 * 16];
  for (uint k = i; k < 8 * 16; k += 32) tile[k] = a[k];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_matrix<elem, 8, 8> left, right;
  simdgroup_matrix<float, 8, 8> sum = make_filled_simdgroup_matrix<float, 8, 8>(2.0f);
  for (ulong k = 0; k < 16; k += 8) {
    simdgroup_load(left, tile, 16, ulong2(k, 0));
    simdgroup_load(right, b + k, 16, ulong2(0), true);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, y, 8);
  const simdgroup_matrix<elem, 8, 8> two = simdgroup_matrix<elem, 8, 8>(elem(2));
  simdgroup_matrix<float, 8, 8> twice;
  simdgroup_multiply(twice, left, two);
  simdgroup_store(twice, y + 64);
}
