// SPDX-License-Identifier: Apache-2.0
// compare: two result files, row by row.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "bench/compare.h"
#include "bench/files.h"
#include "bench/json.h"
#include "cli/commands.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

constexpr int kRegression = 3;

/// With two files, a complaint about a key must say in which.
bench::Result load(const std::string& path) {
  const std::string text = bench::read_file(path);
  try {
    return bench::from_json(text);
  } catch (const Error& e) {
    throw Error(e.code(), fmt::format("{}: {}", path, e.what()));
  }
}

struct CompareCommand {
  std::string a, b, json;
  double tolerance = bench::kDefaultTolerance;

  int run() const {
    const bench::Comparison comparison = bench::compare(load(a), load(b), tolerance);
    fmt::print("{}", bench::to_text(comparison));
    if (!json.empty()) {
      bench::write_file(json, bench::to_json(comparison));
      fmt::print("wrote {}\n", json);
    }
    return comparison.has_regression() ? kRegression : 0;
  }
};

}  // namespace

void add_compare_command(CLI::App& app, int* status) {
  auto c = std::make_shared<CompareCommand>();
  CLI::App* command = app.add_subcommand(
      "compare", "what became faster, slower or wrong between two files of bench --json");
  command->add_option("A", c->a, "the earlier file")->required();
  command->add_option("B", c->b, "the later file")->required();
  command->add_option("--tolerance", c->tolerance,
                      fmt::format("changes within +- this part do not count (default: {})",
                                  bench::kDefaultTolerance));
  command->add_option("--json", c->json, "write the comparison as JSON to this file");
  command->footer("Exit status: 0, or 3 when a row became slower or wrong.");
  command->callback([c, status] { *status = c->run(); });
}

}  // namespace metalconv::cli
