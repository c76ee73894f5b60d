// SPDX-License-Identifier: Apache-2.0
#include "bench/published.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/groups.h"
#include "bench/text.h"

namespace metalconv::bench {
namespace {

struct PublishedRow {
  const char* name;
  const char* problem;
  double basic_us, optimized_us, mps_us;
};

// As printed in the published report, for an Apple M1 Pro.
constexpr PublishedRow kPublished[] = {
    {"800x600", "1x3x600x800,k64,3x3,p1", 12591.00, 11305.00, 1080.90},
    {"1024x768", "1x3x768x1024,k64,3x3,p1", 20204.00, 18214.00, 1817.50},
    {"1920x1080", "1x3x1080x1920,k64,3x3,p1", 54508.00, 47503.00, 4790.60},
};

const Group* find(const std::vector<Group>& groups, const PublishedRow& published) {
  const ConvProblem problem = parse_problem(published.problem);
  for (const Group& group : groups)
    if (group.problem == problem) return &group;
  return nullptr;
}

std::string milliseconds(double us) { return significant(us / 1e3, 4); }

}  // namespace

bool has_published(const Result& result) {
  const std::vector<Group> groups = groups_of(result);
  return std::any_of(std::begin(kPublished), std::end(kPublished),
                     [&](const PublishedRow& row) { return find(groups, row); });
}

Table published_table(const Result& result) {
  const std::vector<Group> groups = groups_of(result);
  const std::vector<std::string> devices = devices_of(result);
  Table table;
  table.columns = {{"ms", false},
                   {"published basic"},
                   {"published optimized"},
                   {"published \"MPS\" (zero fill)"}};
  const Implementation roles[] = {Implementation::basic, Implementation::optimized,
                                  Implementation::vendor};
  for (const std::string& device : devices)
    for (Implementation role : roles)
      table.columns.push_back({fmt::format("{} {}, this run", device, to_string(role))});
  for (const PublishedRow& published : kPublished) {
    const Group* group = find(groups, published);
    if (!group) continue;
    std::vector<Table::Cell> row{{published.name, "", 0},
                                 {milliseconds(published.basic_us), "muted", 0},
                                 {milliseconds(published.optimized_us), "muted", 0},
                                 {milliseconds(published.mps_us), "muted", 0}};
    for (const std::string& device : devices)
      for (Implementation role : roles) {
        const Row* best = fastest(*group, device, role);
        row.push_back({best ? milliseconds(best->time_us->median) : "-", "", 0});
      }
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<std::string> published_notes() {
  return {
      "The published times are of an Apple M1 Pro and are quoted, not measured here: other "
      "hardware, so the columns stand beside each other and are not a comparison of kernels.",
      "They are unverified: their source uses constant inputs and checks no output. Its \"MPS\" "
      "column times a placeholder that fills the output with zeros, not a convolution. Its "
      "optimized kernel is wrong in the last two rows when H % 16 = 8, which 600 and 1080 rows "
      "are.",
      "Its column \"Speedup vs MPS\" (11.65x, 11.12x, 11.38x for basic; 10.46x, 10.02x, 9.92x for "
      "optimized) is ours / MPS, a slow-down. Here a speed-up is time(vendor) / time(ours), so "
      "above 1x is faster.",
      "Moving the bytes alone takes 0.643, 1.054 and 2.779 ms at that machine's 200 GB/s.",
  };
}

}  // namespace metalconv::bench
