// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device half4* h [[buffer(0)]], device float4* x [[buffer(1)]]) {
  x[0] = h[0];          // illegal: conversion
  x[0] = float4(h[0]);  // legal
}
