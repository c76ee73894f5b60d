// SPDX-License-Identifier: Apache-2.0
// The I/O registry with one entry, the GPU.
#include <IOKit/IOKitLib.h>

#include <cstring>

#include "metal_standin/control.h"
#include "metal_standin/objc.h"

using metalconv::standin::machine;
using metalconv::standin::report_misuse;

namespace {

constexpr io_service_t kGpu = 7;
int held = 0;  // references to kGpu and to the number
int number = 0;

}  // namespace

extern "C" {

CFStringRef standin_string(const char* text) { return reinterpret_cast<CFStringRef>(text); }
CFTypeID CFGetTypeID(CFTypeRef object) { return object == &number ? CFNumberGetTypeID() : 0; }
CFTypeID CFNumberGetTypeID() { return 22; }
unsigned char CFNumberGetValue(CFNumberRef, CFNumberType type, void* value) {
  if (type != kCFNumberIntType) return 0;
  std::memcpy(value, &number, sizeof number);
  return 1;
}
void CFRelease(CFTypeRef) {
  if (--held < 0) report_misuse("CFRelease of a number that nobody holds");
}

CFMutableDictionaryRef IOServiceMatching(const char* name) {
  static char none;
  return std::strcmp(name, "AGXAccelerator") == 0 ? reinterpret_cast<CFMutableDictionaryRef>(&none)
                                                  : nullptr;
}
io_service_t IOServiceGetMatchingService(mach_port_t, CFMutableDictionaryRef matching) {
  if (!matching || machine().gpu_cores == 0) return 0;
  ++held;
  return kGpu;
}
CFTypeRef IORegistryEntryCreateCFProperty(io_registry_entry_t entry, CFStringRef key,
                                          CFAllocatorRef, CFOptionFlags) {
  if (entry != kGpu || std::strcmp(reinterpret_cast<const char*>(key), "gpu-core-count") != 0)
    return nullptr;
  ++held;
  number = machine().gpu_cores;
  return &number;
}
kern_return_t IOObjectRelease(io_object_t) {
  if (--held < 0) report_misuse("IOObjectRelease of an object that nobody holds");
  return 0;
}

}  // extern "C"
