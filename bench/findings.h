// SPDX-License-Identifier: Apache-2.0
// What a run says, in sentences: each is computed from its rows and there only when they bear it
// out. Markdown and HTML print the same ones.
#pragma once

#include <string>
#include <vector>

#include "bench/result.h"

namespace metalconv::bench {

/// A figure worth a glance: "2.41x" "as fast as onednn-2.6.3" "at 1920x1080, 2.35 to 2.46".
struct Figure {
  std::string value, label, note;
  bool bad = false;
};

struct Topic {
  std::string title;
  std::vector<std::string> sentences;
};

/// All texts are plain: reports escape them.
struct Findings {
  std::string title;     ///< says workload, device and whether warm or cold
  std::string headline;  ///< the one sentence to remember
  std::vector<Figure> figures;
  std::vector<Topic> observations;
  std::vector<std::string> conclusions;  ///< which implementation to choose when
  std::vector<std::string> next_steps;
  std::vector<std::string> method;  ///< how this run verified and measured
};

Findings find(const Result&);

}  // namespace metalconv::bench
