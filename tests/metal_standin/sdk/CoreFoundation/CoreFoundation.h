// SPDX-License-Identifier: Apache-2.0
// What metal-cpp's headers and gpu_cores.cpp need of Core Foundation.
#pragma once

#include <dispatch/dispatch.h>
#include <sys/types.h>

#include <cmath>
#include <cstdint>

typedef double CFTimeInterval;
typedef const void* CFTypeRef;
typedef const struct __CFAllocator* CFAllocatorRef;
typedef const struct __CFString* CFStringRef;
typedef const struct __CFNumber* CFNumberRef;
typedef struct __CFDictionary* CFMutableDictionaryRef;
typedef unsigned long CFTypeID;
typedef unsigned CFOptionFlags;
enum CFNumberType { kCFNumberIntType = 9 };

extern "C" {
CFStringRef standin_string(const char* text);
CFTypeID CFGetTypeID(CFTypeRef object);
CFTypeID CFNumberGetTypeID();
unsigned char CFNumberGetValue(CFNumberRef number, CFNumberType type, void* value);
void CFRelease(CFTypeRef object);
}

#define CFSTR(text) standin_string(text)
inline constexpr CFAllocatorRef kCFAllocatorDefault = nullptr;
