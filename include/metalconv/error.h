// SPDX-License-Identifier: Apache-2.0
// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>

namespace metalconv {

/// Kinds of failure.
enum class ErrorCode {
  invalid_argument,  ///< an argument breaks a rule that holds on every device
  unsupported,       ///< a valid request that this device or kernel does not do
  too_large,         ///< a size or product overflows 64 bits, or exceeds the memory
  io,                ///< a file cannot be read or written, or is malformed
  device,            ///< the device, its driver or a vendor library reported a failure
};

/// Every failure of the library. `what()` is a sentence that names the argument, its value and the
/// rule it breaks.
class Error : public std::runtime_error {
 public:
  /// `sentence` becomes what().
  Error(ErrorCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  /// Its kind, for programs; the sentence is for people.
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace metalconv
