// SPDX-License-Identifier: Apache-2.0
// What gpu_cores.cpp needs of the I/O registry.
#pragma once

#include <CoreFoundation/CoreFoundation.h>
#include <mach/mach.h>

typedef mach_port_t io_object_t;
typedef io_object_t io_service_t;
typedef io_object_t io_registry_entry_t;

extern "C" {
CFMutableDictionaryRef IOServiceMatching(const char* name);
io_service_t IOServiceGetMatchingService(mach_port_t port, CFMutableDictionaryRef matching);
CFTypeRef IORegistryEntryCreateCFProperty(io_registry_entry_t entry, CFStringRef key,
                                          CFAllocatorRef allocator, CFOptionFlags options);
kern_return_t IOObjectRelease(io_object_t object);
}

inline constexpr mach_port_t kIOMainPortDefault = 0;
