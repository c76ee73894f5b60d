// SPDX-License-Identifier: Apache-2.0
// Files that are whole or not there: core's, by the name that the benchmark uses.
#pragma once

#include "core/files.h"

namespace metalconv::bench {

using metalconv::check_writable;
using metalconv::read_file;
using metalconv::write_file;

}  // namespace metalconv::bench
