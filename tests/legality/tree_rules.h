// SPDX-License-Identifier: Apache-2.0
// What clang accepts and Metal does not, read off clang's syntax tree.
#pragma once

#include <string>
#include <vector>

#include "legality/checker.h"

namespace metalconv::legality {

/// `tree` is what -ast-dump=json printed for `text`.
std::vector<Finding> check_tree(const std::string& tree, const std::string& text);

}  // namespace metalconv::legality
