// SPDX-License-Identifier: Apache-2.0
// The published benchmark that the baseline workload answers.
#pragma once

#include <string>
#include <vector>

#include "bench/result.h"
#include "bench/table.h"

namespace metalconv::bench {

/// True when the run holds a problem of the published benchmark.
bool has_published(const Result&);
/// The published times beside those of this run, problem by problem.
Table published_table(const Result&);
/// What a reader must know before comparing, one sentence each.
std::vector<std::string> published_notes();

}  // namespace metalconv::bench
