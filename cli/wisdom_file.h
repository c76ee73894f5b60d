// SPDX-License-Identifier: Apache-2.0
// Where the user's wisdom is kept, and reading it.
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string>

#include "metalconv/wisdom.h"

namespace metalconv::cli {

/// `cache_home`/metalconv/wisdom.json, else in the cache folder of `home`: .cache, on macOS
/// Library/Caches. Empty when neither is an absolute path.
std::string default_wisdom_path(const std::string& cache_home, const std::string& home,
                                bool is_macos);

/// --wisdom FILE, else $METALCONV_WISDOM, else in the user's cache folder. --no-wisdom and
/// METALCONV_WISDOM=off leave every choice to the estimate: shipped choices are off, too.
class WisdomFile {
 public:
  /// --wisdom and --no-wisdom, for commands that read it.
  void add_to(CLI::App& app);
  /// --wisdom alone, for the command that writes it.
  void add_file_to(CLI::App& app);

  /// Empty when it is off, or there is no place for it.
  std::string path() const;
  /// What the file holds; warnings go to stderr.
  Wisdom read() const;
  /// What comes with the library; empty when wisdom is off.
  std::span<const Wisdom> shipped() const;

 private:
  bool is_off() const;

  std::string named_;
  bool off_ = false;
};

}  // namespace metalconv::cli
