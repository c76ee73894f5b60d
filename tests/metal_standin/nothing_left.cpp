// SPDX-License-Identifier: Apache-2.0
// Linked into a test program: at its end no object of Apple's is alive and nothing was misused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "metal_standin/control.h"

namespace metalconv::standin {
namespace {

class NothingLeft : public testing::Environment {
  void TearDown() override {
    EXPECT_EQ(live_objects(), "");
    EXPECT_THAT(take_misuses(), testing::IsEmpty());
    forget_dead();
  }
};

const auto* const environment = testing::AddGlobalTestEnvironment(new NothingLeft);

}  // namespace
}  // namespace metalconv::standin
