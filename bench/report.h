// SPDX-License-Identifier: Apache-2.0
// The reports of a run. JSON is in json.h, the terminal's table in table.h.
#pragma once

#include <string>

#include "bench/json.h"
#include "bench/result.h"

namespace metalconv::bench {

struct ReportOptions {
  /// Show the published numbers beside a run of the baseline, labelled as unverified.
  bool with_published = true;
};

/// Every section of the published report; reads well on GitHub and in a terminal of 80 columns.
std::string to_markdown(const Result&, const ReportOptions& = {});

/// One offline page below 300 KB: no script is needed to read it.
std::string to_html(const Result&, const ReportOptions& = {});

}  // namespace metalconv::bench
