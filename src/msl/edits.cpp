// SPDX-License-Identifier: Apache-2.0
#include "msl/edits.h"

#include <algorithm>

namespace metalconv::msl {

void Edits::replace(const Token& from, const Token& to, std::string text) {
  edits_.push_back({source_.begin(from), source_.end(to), std::move(text)});
}

void Edits::insert_before(const Token& t, std::string text) {
  edits_.push_back({source_.begin(t), source_.begin(t), std::move(text)});
}

void Edits::insert_after(const Token& t, std::string text) {
  edits_.push_back({source_.end(t), source_.end(t), std::move(text)});
}

std::string Edits::apply() {
  // At one place insertions come first, then the replacement that was asked for first.
  std::stable_sort(edits_.begin(), edits_.end(), [](const Edit& a, const Edit& b) {
    return a.begin != b.begin ? a.begin < b.begin : (a.begin == a.end) > (b.begin == b.end);
  });
  std::string out;
  std::size_t at = 0;
  for (const Edit& edit : edits_) {
    if (edit.begin < at) continue;
    out.append(source_.text, at, edit.begin - at);
    out += edit.text;
    const std::string_view old = source_.text.substr(edit.begin, edit.end - edit.begin);
    // A backslash that joins the lines of a #define goes with its line break.
    for (std::size_t i = 0; i < old.size(); ++i) {
      if (old[i] != '\n') continue;
      if (i > 0 && old[i - 1] == '\\') out += '\\';
      out += '\n';
    }
    at = edit.end;
  }
  out.append(source_.text, at);
  return out;
}

}  // namespace metalconv::msl
