// SPDX-License-Identifier: Apache-2.0
// Errors are part of the interface: tests compare the whole sentence.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "metalconv/error.h"

namespace metalconv::test {

/// The sentence that `body` throws.
inline std::string sentence_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

inline void expect_error(ErrorCode code, const std::string& sentence,
                         const std::function<void()>& body) {
  SCOPED_TRACE(sentence);
  try {
    body();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(int(e.code()), int(code));
    EXPECT_EQ(std::string(e.what()), sentence);
  }
}

}  // namespace metalconv::test
