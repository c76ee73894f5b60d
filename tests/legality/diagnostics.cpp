// SPDX-License-Identifier: Apache-2.0
#include "legality/diagnostics.h"

#include <regex>
#include <set>
#include <sstream>

namespace metalconv::legality {
namespace {

struct Pattern {
  std::regex words;
  const char* rule;
};

const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> kPatterns = [] {
    const std::pair<const char*, const char*> table[] = {
        {"variable length array|variably modified", "no-vla"},
        {"is a C\\+\\+\\d+ extension", "cpp14"},
        {"read-only|const-qualified", "const-write"},
        {"implicit conversion loses", "implicit-narrowing"},
        {"undeclared identifier|no member named|unknown type name|no template named",
         "unknown-name"},
    };
    std::vector<Pattern> out;
    for (const auto& [words, rule] : table) out.push_back({std::regex(words), rule});
    return out;
  }();
  return kPatterns;
}

// Clang prints a space now by its macro, now by its number.
int number_of(const std::string& space) {
  if (space == "device") return 1;
  if (space == "constant") return 2;
  if (space == "threadgroup") return 3;
  return std::stoi(space.substr(space.find('(') + 1));
}

// The address spaces in each of the types that a message quotes.
std::vector<std::set<int>> quoted_spaces(const std::string& message) {
  static const std::regex kQuoted("'([^']*)'");
  static const std::regex kSpace("\\b(device|constant|threadgroup|address_space\\(\\d+\\))");
  std::vector<std::set<int>> out;
  for (std::sregex_iterator q(message.begin(), message.end(), kQuoted), end; q != end; ++q) {
    const std::string type = (*q)[1];
    auto& spaces = out.emplace_back();
    for (std::sregex_iterator s(type.begin(), type.end(), kSpace); s != end; ++s) {
      spaces.insert(number_of(s->str()));
    }
  }
  return out;
}

// Values may cross from one space to another; pointers, references and `this` may not.
std::string conversion_rule(const std::string& message) {
  static const std::regex kConversion(
      "incompatible type|cannot (initialize|convert)|no (viable|known) conversion|"
      "(could|does) not match");
  static const std::regex kReach("\\*|&|object parameter");
  if (!std::regex_search(message, kConversion)) {
    return message.find("address space") != std::string::npos ? "address-space" : "clang";
  }
  const auto spaces = quoted_spaces(message);
  const bool differ = spaces.size() >= 2 && spaces[0] != spaces[1];
  return differ && std::regex_search(message, kReach) ? "address-space" : "conversion";
}

std::string rule_of(const std::string& message) {
  for (const Pattern& pattern : patterns()) {
    if (std::regex_search(message, pattern.words)) return pattern.rule;
  }
  return conversion_rule(message);
}

struct Line {
  std::string file, severity, message;
  int line = 0;
};

bool parse(const std::string& text, Line& out) {
  static const std::regex kLine("(.+?):(\\d+):\\d+: (fatal error|error|note|warning): (.*)");
  std::smatch m;
  if (!std::regex_match(text, m, kLine)) return false;
  out = {m[1], m[3], m[4], std::stoi(m[2])};
  return true;
}

class Reader {
 public:
  explicit Reader(const std::string& header) : header_(header) {}

  void add(const Line& line) {
    if (line.severity == "note") return add_note(line);
    if (line.severity == "warning") return;
    findings.push_back({rule_of(line.message), line.file, line.line, line.message});
  }

  std::vector<Finding> findings;

 private:
  // "candidate not viable: ... address space" tells why no function matched.
  void add_note(const Line& line) {
    if (findings.empty()) return;
    Finding& finding = findings.back();
    if (finding.rule == "clang") finding.rule = rule_of(line.message);
    if (finding.file.ends_with(header_) && !line.file.ends_with(header_)) {
      finding.file = line.file;
      finding.line = line.line;
    }
  }

  const std::string& header_;
};

}  // namespace

std::vector<Finding> read_diagnostics(const std::string& messages, const std::string& header) {
  Reader reader(header);
  std::istringstream lines(messages);
  Line line;
  for (std::string text; std::getline(lines, text);) {
    if (parse(text, line)) reader.add(line);
  }
  return std::move(reader.findings);
}

}  // namespace metalconv::legality
