// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <objc/runtime.h>

// Called through a pointer to the function type of the method.
extern "C" {
void objc_msgSend(void);
void objc_msgSend_stret(void);
void objc_msgSend_fpret(void);
}
