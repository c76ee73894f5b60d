// SPDX-License-Identifier: Apache-2.0
// Clang's messages as findings.
#pragma once

#include <string>
#include <vector>

#include "legality/checker.h"

namespace metalconv::legality {

/// `header` is the name of the dialect's own file: an error there counts where it was asked for.
std::vector<Finding> read_diagnostics(const std::string& messages, const std::string& header);

}  // namespace metalconv::legality
