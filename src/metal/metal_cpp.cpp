// SPDX-License-Identifier: Apache-2.0
// metal-cpp is headers only: its selectors and classes are defined in one source, this one.
#define NS_PRIVATE_IMPLEMENTATION
#define MTL_PRIVATE_IMPLEMENTATION
#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
