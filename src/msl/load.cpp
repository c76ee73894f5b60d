// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "msl/edits.h"
#include "msl/msl.h"

namespace metalconv::msl {
namespace {

std::string folder_of(std::string_view file) {
  const std::size_t slash = file.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(file.substr(0, slash + 1));
}

std::string line_directive(int line, std::string_view file) {
  return "#line " + std::to_string(line) + " \"" + std::string(file) + "\"\n";
}

class Inliner {
 public:
  explicit Inliner(const IncludeReader& read) : read_(read) {}

  std::string run(std::string_view text, std::string_view file) {
    const LexedSource source = lex(text, file);
    std::string out;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 2 < source.tokens.size(); ++i) {
      const Token* t = &source.tokens[i];
      if (!t[0].in_directive || !t[0].is("#")) continue;
      const bool once = t[1].is("pragma") && t[2].is("once");
      if (!once && !(t[1].is("include") && t[2].text.starts_with('"'))) continue;
      out.append(text, at, source.begin(t[0]) - at);
      if (!once) out += included(source, t[2]);
      at = source.end(t[2]);
    }
    return out.append(text, at);
  }

 private:
  std::string included(const LexedSource& source, const Token& include) {
    const std::string name(include.text.substr(1, include.text.size() - 2));
    if (!seen_.insert(name).second) return {};
    const std::optional<std::string> text = read_(name);
    if (!text) source.fail(include, "include", "there is no file '" + name + "' to include");
    const std::string& file = source.files[std::size_t(include.file)];
    const std::string path = folder_of(file) + name;
    // What is left of the include's own line keeps its number.
    return line_directive(1, path) + run(*text, path) + "\n" + line_directive(include.line, file);
  }

  const IncludeReader& read_;
  std::set<std::string> seen_;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    throw Error(ErrorCode::io, "cannot read the kernel source '" + path + "'");
  }
  return std::move(text).str();
}

}  // namespace

std::string inline_includes(std::string_view source, std::string_view file,
                            const IncludeReader& read) {
  return line_directive(1, file) + Inliner(read).run(source, file);
}

std::string diagnostic_name(const std::string& path) {
  const std::filesystem::path p(path);
  const auto folder = std::filesystem::absolute(p).parent_path().filename();
  return (folder / p.filename()).string();
}

std::string load_source(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  const IncludeReader read = [&](std::string_view name) -> std::optional<std::string> {
    const auto file = folder / name;
    if (!std::filesystem::is_regular_file(file)) return std::nullopt;
    return read_file(file.string());
  };
  return inline_includes(read_file(path), diagnostic_name(path), read);
}

}  // namespace metalconv::msl
