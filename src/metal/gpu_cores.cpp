// SPDX-License-Identifier: Apache-2.0
#include "metal/gpu_cores.h"

#include <CoreFoundation/CoreFoundation.h>
#include <IOKit/IOKitLib.h>

namespace metalconv::metal {

int gpu_cores() {
  const io_service_t gpu =
      IOServiceGetMatchingService(kIOMainPortDefault, IOServiceMatching("AGXAccelerator"));
  if (!gpu) return 0;
  const CFTypeRef count =
      IORegistryEntryCreateCFProperty(gpu, CFSTR("gpu-core-count"), kCFAllocatorDefault, 0);
  IOObjectRelease(gpu);
  if (!count) return 0;
  int cores = 0;
  if (CFGetTypeID(count) == CFNumberGetTypeID())
    CFNumberGetValue(static_cast<CFNumberRef>(count), kCFNumberIntType, &cores);
  CFRelease(count);
  return cores;
}

}  // namespace metalconv::metal
