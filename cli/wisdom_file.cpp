// SPDX-License-Identifier: Apache-2.0
#include "cli/wisdom_file.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

namespace metalconv::cli {
namespace {

namespace fs = std::filesystem;

#ifdef __APPLE__
constexpr bool kIsMacos = true;
#else
constexpr bool kIsMacos = false;
#endif

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::string default_wisdom_path(const std::string& cache_home, const std::string& home,
                                bool is_macos) {
  const fs::path file = fs::path("metalconv") / "wisdom.json";
  if (cache_home.starts_with('/')) return (cache_home / file).string();
  if (!home.starts_with('/')) return {};
  return (home / fs::path(is_macos ? "Library/Caches" : ".cache") / file).string();
}

void WisdomFile::add_to(CLI::App& app) {
  add_file_to(app);
  app.add_flag("--no-wisdom", off_,
               "choose kernels by estimate, whatever was measured here or is shipped")
      ->excludes("--wisdom")
      ->group("Wisdom");
}

void WisdomFile::add_file_to(CLI::App& app) {
  app.add_option(
         "--wisdom", named_,
         "file of measured choices (default: $METALCONV_WISDOM, \"off\" for --no-wisdom, else "
         "metalconv/wisdom.json in the user's cache folder)")
      ->type_name("FILE")
      ->group("Wisdom");
}

bool WisdomFile::is_off() const {
  return off_ || (named_.empty() && environment("METALCONV_WISDOM") == "off");
}

std::span<const Wisdom> WisdomFile::shipped() const {
  return is_off() ? std::span<const Wisdom>() : shipped_choices();
}

std::string WisdomFile::path() const {
  if (is_off()) return {};
  if (!named_.empty()) return named_;
  if (std::string wanted = environment("METALCONV_WISDOM"); !wanted.empty()) return wanted;
  return default_wisdom_path(environment("XDG_CACHE_HOME"), environment("HOME"), kIsMacos);
}

Wisdom WisdomFile::read() const {
  const std::string file = path();
  if (file.empty()) return {};
  LoadedWisdom loaded = load_wisdom(file);
  std::error_code error;
  if (!named_.empty() && loaded.warning.empty() && !fs::exists(file, error))
    loaded.warning = fmt::format("there is no wisdom file {}", file);
  if (!loaded.warning.empty()) fmt::print(stderr, "metalconv: {}\n", loaded.warning);
  return std::move(loaded.wisdom);
}

}  // namespace metalconv::cli
