// SPDX-License-Identifier: Apache-2.0
// What metal-cpp's headers need of Objective-C's runtime.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
typedef struct objc_class* Class;
struct objc_object {
  Class isa;
};
typedef struct objc_object* id;
typedef struct objc_selector* SEL;
void* objc_lookUpClass(const char* name);
void* objc_getProtocol(const char* name);
SEL sel_registerName(const char* name);
}
