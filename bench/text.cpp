// SPDX-License-Identifier: Apache-2.0
#include "bench/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace metalconv::bench {

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  // Rounding may carry into a new digit: 9.996 to three digits is 10.0.
  const double rounded = std::stod(fmt::format("{:.{}e}", value, digits - 1));
  const int magnitude = int(std::floor(std::log10(std::fabs(rounded))));
  return fmt::format("{:.{}f}", rounded, std::clamp(digits - 1 - magnitude, 0, 12));
}

std::string short_number(double value, int digits) {
  std::string text = significant(value, digits);
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string time_text(double us) {
  if (us < 1e3) return significant(us, 4) + " us";
  if (us < 1e6) return significant(us / 1e3, 4) + " ms";
  return significant(us / 1e6, 4) + " s";
}

std::string factor_text(double factor) {
  // Close to 1 a digit more tells on which side it is.
  if (factor != 1 && std::fabs(factor - 1) < 0.005) return significant(factor, 4) + "x";
  return significant(factor, factor < 10 ? 3 : std::max(3, int(std::log10(factor)) + 1)) + "x";
}

std::string factor_text(const Interval& f) {
  const std::string median = factor_text(f.median);
  std::string low = factor_text(f.low), high = factor_text(f.high);
  low.pop_back(), high.pop_back();
  return fmt::format("{} ({} to {})", median, low, high);
}

std::string percent_text(double percent) {
  if (!std::isfinite(percent)) return "-";
  return fmt::format("{:.{}f} %", percent, std::fabs(percent) < 9.95 ? 1 : 0);
}

std::string percent_range(double low, double high) {
  const std::string first = percent_text(low), last = percent_text(high);
  return first == last ? first : fmt::format("{} to {}", first.substr(0, first.size() - 2), last);
}

std::string rate_text(double per_second, std::string_view unit) {
  if (per_second >= 1e12) return fmt::format("{} T{}", significant(per_second / 1e12, 3), unit);
  return fmt::format("{} G{}", significant(per_second / 1e9, 3), unit);
}

std::string bytes_text(double bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit > 0 && bytes < 10 ? 1 : 0, units[unit]);
}

std::string list_text(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " and " : ", ";
    text += items[i];
  }
  return text;
}

std::string count_text(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string sentence_case(std::string text) {
  const std::string_view word = std::string_view(text).substr(0, text.find(' '));
  const bool name = word.find_first_of("0123456789") != std::string_view::npos;
  if (!text.empty() && !name) text[0] = char(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

namespace {
bool begins_code_point(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }
}  // namespace

std::size_t columns(std::string_view text) {
  return std::size_t(std::count_if(text.begin(), text.end(), begins_code_point));
}

std::string shorten(std::string_view text, std::size_t width) {
  if (columns(text) <= width) return std::string(text);
  const std::size_t dots = std::min<std::size_t>(width, 2), keep = width - dots;
  std::size_t end = 0, seen = 0;
  for (; end < text.size(); ++end)
    if (begins_code_point(text[end]) && ++seen > keep) break;
  return std::string(text.substr(0, end)) + std::string(dots, '.');
}

std::string printable(std::string_view text) {
  std::string clean;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are control characters, too: C2 80 to C2 9F in UTF-8.
    const bool c1 =
        byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) ++i;
    clean += c1 || byte < 0x20 || byte == 0x7f ? ' ' : text[i];
  }
  return clean;
}

std::string printable_lines(std::string_view text) {
  std::string clean;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    clean += printable(text.substr(start, end - start)) + "\n";
    start = end + 1;
  }
  return clean;
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (char c : printable(text)) switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  return escaped;
}

std::string escape_markdown(std::string_view text) {
  std::string escaped;
  for (char c : printable(text)) {
    if (std::string_view("\\`*_[]<>|#~$").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace metalconv::bench
