// SPDX-License-Identifier: Apache-2.0
// Numbers and names as reports print them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/result.h"

namespace metalconv::bench {

/// `value` with that many significant digits and no exponent: "4.092", "0.0240", "12591".
std::string significant(double value, int digits);
/// The same without zeros at the end: "5", "0.25".
std::string short_number(double value, int digits);
/// With its own unit: "643.0 us", "12.59 ms", "1.204 s".
std::string time_text(double us);
/// "2.41x".
std::string factor_text(double factor);
/// "2.41x (2.35 to 2.46)".
std::string factor_text(const Interval& factor);
/// "87 %"; one decimal below 10.
std::string percent_text(double percent);
/// "82 to 90 %", or one figure when both print the same.
std::string percent_range(double low, double high);
/// Bytes or operations per second: "72.4 GB/s", "445 GFLOP/s".
std::string rate_text(double per_second, std::string_view unit);
/// "48 KiB", "1.5 GiB".
std::string bytes_text(double bytes);

/// "a", "a and b", "a, b and c".
std::string list_text(const std::vector<std::string>& items);
/// "1 row", "3 rows".
std::string count_text(std::size_t count, std::string_view noun);
/// The first letter in upper case, unless the first word is a name with digits ("onednn-2.6.3").
std::string sentence_case(std::string text);

/// Code points of UTF-8: the columns of a terminal for the text that reports hold.
std::size_t columns(std::string_view text);
/// At most `width` columns, the end cut off and shown as "..".
std::string shorten(std::string_view text, std::size_t width);
/// Control characters (terminal escapes, line breaks) replaced by spaces.
std::string printable(std::string_view text);
/// The same line by line: line breaks stay, and the last line ends with one.
std::string printable_lines(std::string_view text);

std::string escape_html(std::string_view text);
/// For Markdown text and table cells: a backslash before what would be markup.
std::string escape_markdown(std::string_view text);

}  // namespace metalconv::bench
