// SPDX-License-Identifier: Apache-2.0
// All of the library.
#pragma once

#include "metalconv/cpu.h"
#include "metalconv/cuda.h"
#include "metalconv/device.h"
#include "metalconv/emulator.h"
#include "metalconv/error.h"
#include "metalconv/metal.h"
#include "metalconv/plan.h"
#include "metalconv/problem.h"
#include "metalconv/tensor.h"
#include "metalconv/wisdom.h"
