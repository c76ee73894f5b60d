// SPDX-License-Identifier: Apache-2.0
#include "legality/checker.h"

#include <stdlib.h>  // mkdtemp

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "legality/diagnostics.h"
#include "legality/tree_rules.h"
#include "msl/msl.h"

namespace metalconv::legality {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFlags =
    " -fsyntax-only -x c++ -std=c++14 -nostdinc -fno-exceptions -fno-rtti -fno-color-diagnostics "
    "-fno-caret-diagnostics -ferror-limit=20 "
    "-Wno-everything -Werror=vla-extension -Werror=c++17-extensions -Werror=c++20-extensions "
    "-Werror=implicit-float-conversion ";

std::string quote(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(text).str();
}

int clang_version(const std::string& program) {
  const std::string command = quote(program) + " -dumpversion 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  int version = 0;
  if (pipe == nullptr || std::fscanf(pipe.get(), "%d", &version) != 1) return 0;
  return version;
}

}  // namespace

std::string find_clang() {
  if (const char* named = std::getenv("METALCONV_CLANG")) return named;
  for (int version = 22; version >= 16; --version) {
    std::string program = "clang++-" + std::to_string(version);
    if (clang_version(program) == version) return program;
  }
  return clang_version("clang++") >= 16 ? "clang++" : "";
}

Checker::Checker(std::string clang) : clang_(std::move(clang)) {
  std::string folder = (fs::temp_directory_path() / "metalconv-check-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    throw Error(ErrorCode::io, "cannot make the temporary folder '" + folder + "'");
  }
  folder_ = folder;
  for (const EmbeddedFile& header : msl::check_headers()) {
    std::ofstream(fs::path(folder_) / header.name, std::ios::binary) << header.text;
  }
}

Checker::~Checker() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::vector<Finding> Checker::check(const std::string& source, const std::string& file,
                                    const Macros& macros) const {
  std::string text;
  try {
    text = msl::to_check(source, file).text;
  } catch (const msl::SourceError& e) {
    return {{e.rule(), e.file(), e.line(), e.what()}};
  }
  const fs::path folder(folder_);
  const auto in_folder = [&](const char* name) { return quote((folder / name).string()); };
  std::ofstream(folder / "text.cpp", std::ios::binary) << text;
  std::string command = quote(clang_) + kFlags;
  for (const auto& [name, value] : macros) command += quote("-D" + name + "=" + value) += ' ';
  command += "-Xclang -ast-dump=json -isystem " + quote(folder_) + " " + in_folder("text.cpp") +
             " >" + in_folder("tree") + " 2>" + in_folder("messages");
  const int status = std::system(command.c_str());
  auto findings = read_diagnostics(read(folder / "messages"), "msl_check.h");
  if (status == 0)
    findings = check_tree(read(folder / "tree"), text);
  else if (findings.empty()) {
    findings.push_back({"clang", file, 0, clang_ + " failed: " + read(folder / "messages")});
  }
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.line < b.line; });
  return findings;
}

}  // namespace metalconv::legality
