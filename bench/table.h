// SPDX-License-Identifier: Apache-2.0
// Tables: one model, printed as text for a terminal, as Markdown and as HTML.
#pragma once

#include <string>
#include <vector>

#include "bench/result.h"

namespace metalconv::bench {

struct Table {
  struct Column {
    std::string header;
    bool numeric = true;        ///< aligned right
    std::size_t min_width = 0;  ///< may be shortened to this many columns of text; 0: never
  };
  struct Cell {
    std::string text;
    std::string mark;  ///< how HTML shows it: "", "best", "bad", "muted"
    double meter = 0;  ///< a bar of that many percent behind the text in HTML; 0: none
  };
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
};

/// Aligned with spaces; texts that may be shortened are, until a line has `width` columns.
std::string to_text(const Table&, std::size_t width = 80);
std::string to_markdown(const Table&);
std::string to_html(const Table&);

/// The rows of the run with time and interval, GFLOP/s, % of the roofline and what bounds it,
/// speed-up over the vendor, verdict and error. A row that is not ok has its verdict and no figure.
/// Columns that would be empty are left out.
Table results_table(const Result&);
/// The roofs with their code paths.
Table roofs_table(const Result&);
/// The rows again for a terminal: shorter headers, names not repeated.
Table summary_table(const Result&);

/// What the command prints after a run: the summary table in 80 columns of ASCII, and for each
/// failed row its reason and reproducer (whole, to be copied).
std::string terminal_summary(const Result&);

}  // namespace metalconv::bench
