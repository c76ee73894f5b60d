// SPDX-License-Identifier: Apache-2.0
// A comparison as JSON.
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/compare.h"

namespace metalconv::bench {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
Json number(const std::optional<double>& value) { return value ? number(*value) : Json(nullptr); }

Json origin_json(const Origin& origin) {
  return {{"workload", origin.workload},
          {"mode", origin.mode},
          {"started", origin.started},
          {"metalconv", origin.version}};
}

Json row_json(const ComparedRow& row) {
  Json ratio;
  if (row.ratio)
    ratio = {{"median", number(row.ratio->median)},
             {"low", number(row.ratio->low)},
             {"high", number(row.ratio->high)}};
  return {{"name", row.name},
          {"problem", to_text(row.problem)},
          {"device", row.device},
          {"implementation", to_string(row.implementation)},
          {"kernel_a", row.kernel_a},
          {"kernel_b", row.kernel_b},
          {"time_a_us", number(row.us_a)},
          {"time_b_us", number(row.us_b)},
          {"ratio", ratio},
          {"change", to_string(row.change)},
          {"reason", row.reason},
          {"reproducer", row.reproducer}};
}

Json mean_json(const MeanRatio& mean) {
  return {{"device", mean.device},
          {"implementation", to_string(mean.implementation)},
          {"ratio", number(mean.ratio)},
          {"rows", mean.rows}};
}

}  // namespace

std::string to_json(const Comparison& comparison) {
  Json rows = Json::array(), means = Json::array(), counts = Json::object();
  for (const ComparedRow& row : comparison.rows) rows.push_back(row_json(row));
  for (const MeanRatio& mean : comparison.means) means.push_back(mean_json(mean));
  for (const Change change : all_changes())
    counts[std::string(to_string(change))] = comparison.count(change);
  const Json json = {{"schema", Result::kSchema},
                     {"tolerance", comparison.tolerance},
                     {"regression", comparison.has_regression()},
                     {"a", origin_json(comparison.a)},
                     {"b", origin_json(comparison.b)},
                     {"warnings", comparison.warnings},
                     {"counts", counts},
                     {"geometric_means", means},
                     {"rows", rows}};
  // Text of the files may not be UTF-8: replaced, never refused.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace metalconv::bench
