// SPDX-License-Identifier: Apache-2.0
// A Result as JSON and back; docs/json-schema.md describes every key.
#pragma once

#include <string>
#include <string_view>

#include "bench/result.h"

namespace metalconv::bench {

/// Numbers that JSON has no form for (NaN, infinity) are written as null.
std::string to_json(const Result&);

/// Throws Error{io} with a sentence that names the key for text that is not JSON, lacks a key or
/// holds a wrong type or value, or was written by a newer schema. Keys not known are ignored.
Result from_json(std::string_view text);

}  // namespace metalconv::bench
