// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  x[0] = max(x[0], 0);     // illegal: conversion
  x[0] = max(x[0], 0.0f);  // legal
}
