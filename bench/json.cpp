// SPDX-License-Identifier: Apache-2.0
#include "bench/json.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using Json = nlohmann::ordered_json;

// ---- writing

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (double value : values) list.push_back(number(value));
  return list;
}

Json verification_json(const Verification& v) {
  return {{"coverage", v.coverage},
          {"checked", v.checked},
          {"worst_ratio", number(v.worst_ratio)},
          {"error_units", number(v.error_units)},
          {"exact", v.exact}};
}

/// The keys of a row that has a time; all of them are null for one that has none.
void add_times(const Row& row, Json* json) {
  const bool timed = row.time_us.has_value();
  const auto add = [&](const char* key, Json value) {
    (*json)[key] = timed ? std::move(value) : Json(nullptr);
  };
  const Interval time = row.time_us.value_or(Interval{});
  const std::optional<Interval>& speedup = row.speedup_vs_vendor;
  add("time_us",
      {{"median", number(time.median)}, {"low", number(time.low)}, {"high", number(time.high)}});
  add("gflops", number(row.gflops));
  add("direct_gflops", number(row.direct_gflops));
  add("gbytes_per_s", number(row.gbytes_per_s));
  add("roofline_percent", number(row.roofline_percent));
  add("bound_by", row.bound_by);
  add("roof_us", number(row.roof_us));
  add("above_roof", row.above_roof);
  add("speedup_vs_vendor", speedup ? number(speedup->median) : Json(nullptr));
  add("speedup_vs_vendor_interval",
      speedup ? Json{{"low", number(speedup->low)}, {"high", number(speedup->high)}}
              : Json(nullptr));
  add("executions_per_sample", row.executions_per_sample);
  add("stop", row.stop);
  add("samples_us", numbers(row.samples_us));
}

Json row_json(const Row& row) {
  Json json = {{"name", row.name},
               {"problem", to_text(row.problem)},
               {"device", row.device},
               {"implementation", to_string(row.implementation)},
               {"kernel", row.kernel},
               {"detail", row.detail},
               {"workspace_bytes", row.workspace_bytes},
               {"verdict", to_string(row.verdict)},
               {"reason", row.reason},
               {"reproducer", row.reproducer},
               {"verification", verification_json(row.verification)},
               {"executed_flops", number(row.executed_flops)},
               {"bytes", number(row.bytes)}};
  add_times(row, &json);
  return json;
}

Json roof_json(const Roof& roof) {
  return {{"device", roof.device},
          {"name", roof.name},
          {"path", roof.path},
          {"unit", roof.unit},
          {"working_set_bytes", number(roof.working_set_bytes)},
          {"rate", number(roof.rate)},
          {"samples", numbers(roof.samples)}};
}

// ---- reading

[[noreturn]] void fail(const std::string& sentence) {
  throw Error(ErrorCode::io, "result JSON: " + sentence);
}

/// A value and where it stands, so that every complaint can name its key.
class Node {
 public:
  Node(const Json& value, std::string path) : value_(value), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  bool is_null() const { return value_.is_null(); }

  Node at(const char* key) const {
    need(value_.is_object(), "an object");
    const auto found = value_.find(key);
    if (found == value_.end()) fail(fmt::format("{} is missing", child(key)));
    return {*found, child(key)};
  }
  /// What `read` makes of the key's value, unless it is missing or null.
  template <class Read>
  void if_there(const char* key, const Read& read) const {
    need(value_.is_object(), "an object");
    const auto found = value_.find(key);
    if (found != value_.end() && !found->is_null()) read(Node(*found, child(key)));
  }
  template <class Visit>
  void each(const Visit& visit) const {
    need(value_.is_array(), "an array");
    for (std::size_t i = 0; i < value_.size(); ++i)
      visit(Node(value_[i], fmt::format("{}[{}]", path_, i)));
  }
  template <class Visit>
  void each_key(const Visit& visit) const {
    need(value_.is_object(), "an object");
    for (const auto& item : value_.items())
      visit(item.key(), Node(item.value(), child(item.key().c_str())));
  }

  std::string text() const {
    need(value_.is_string(), "a string");
    return value_.get<std::string>();
  }
  bool flag() const {
    need(value_.is_boolean(), "true or false");
    return value_.get<bool>();
  }
  double number() const {
    if (is_null()) return std::numeric_limits<double>::quiet_NaN();
    need(value_.is_number(), "a number or null");
    return value_.get<double>();
  }
  double positive() const {
    const double value = number();
    need(value > 0, "a number above 0");
    return value;
  }
  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    need(value_.is_number_integer(), "an integer");
    if (value_.is_number_unsigned() && value_.get<std::uint64_t>() > std::uint64_t(high))
      fail(fmt::format("{} is {}, above {}", path_, value_.get<std::uint64_t>(), high));
    const auto value = value_.get<std::int64_t>();
    if (value < low || value > high)
      fail(fmt::format("{} is {}, not in [{}, {}]", path_, value, low, high));
    return value;
  }
  std::vector<double> numbers() const {
    std::vector<double> list;
    each([&](const Node& item) { list.push_back(item.number()); });
    return list;
  }

 private:
  std::string child(const char* key) const {
    return path_.empty() ? key : fmt::format("{}.{}", path_, key);
  }
  void need(bool holds, const char* what) const {
    if (!holds)
      fail(fmt::format("{} is {}, it must be {}", path_.empty() ? "the text" : path_,
                       value_.is_primitive() ? shown() : value_.type_name(), what));
  }
  std::string shown() const {
    std::string text = value_.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "...";
    return text;
  }

  const Json& value_;
  std::string path_;
};

/// `parse` on the node's text, with its complaint turned into one about the file.
template <class Parse>
auto parsed(const Node& node, const Parse& parse) {
  try {
    return parse(node.text());
  } catch (const Error& e) {
    if (e.code() == ErrorCode::io) throw;
    fail(fmt::format("{}: {}", node.path(), e.what()));
  }
}

Verdict read_verdict(const Node& node) {
  for (Verdict verdict : {Verdict::ok, Verdict::failed, Verdict::skipped})
    if (node.text() == to_string(verdict)) return verdict;
  fail(fmt::format("{} is '{}', it must be ok, failed or skipped", node.path(), node.text()));
}

Verification read_verification(const Node& node) {
  Verification v;
  v.coverage = node.at("coverage").text();
  v.checked = node.at("checked").integer(0, std::numeric_limits<std::int64_t>::max());
  v.worst_ratio = node.at("worst_ratio").number();
  v.error_units = node.at("error_units").number();
  v.exact = node.at("exact").flag();
  return v;
}

Interval read_interval(double median, const Node& ends) {
  const Interval interval{median, ends.at("low").positive(), ends.at("high").positive()};
  if (!(interval.low <= median && median <= interval.high))
    fail(fmt::format("{}: low {} <= median {} <= high {} does not hold", ends.path(), interval.low,
                     median, interval.high));
  return interval;
}

void read_times(const Node& node, Row* row) {
  const Node time = node.at("time_us");
  if (time.is_null()) return;
  if (row->verdict != Verdict::ok)
    fail(fmt::format("{} is given, but the verdict is {} and only ok rows have a time", time.path(),
                     to_string(row->verdict)));
  row->time_us = read_interval(time.at("median").positive(), time);
  row->gflops = node.at("gflops").number();
  row->roofline_percent = node.at("roofline_percent").number();
  const auto read = [&](const char* key, double* value) {
    node.if_there(key, [&](const Node& n) { *value = n.number(); });
  };
  read("direct_gflops", &row->direct_gflops);
  read("gbytes_per_s", &row->gbytes_per_s);
  read("roof_us", &row->roof_us);
  node.if_there("bound_by", [&](const Node& n) { row->bound_by = n.text(); });
  node.if_there("above_roof", [&](const Node& n) { row->above_roof = n.flag(); });
  node.if_there("stop", [&](const Node& n) { row->stop = n.text(); });
  node.if_there("executions_per_sample", [&](const Node& n) {
    row->executions_per_sample = int(n.integer(0, std::numeric_limits<int>::max()));
  });
  node.if_there("samples_us", [&](const Node& list) {
    list.each([&](const Node& sample) { row->samples_us.push_back(sample.positive()); });
  });
  const Node speedup = node.at("speedup_vs_vendor");
  if (speedup.is_null()) return;
  const double median = speedup.positive();
  row->speedup_vs_vendor = Interval{median, median, median};
  node.if_there("speedup_vs_vendor_interval",
                [&](const Node& ends) { row->speedup_vs_vendor = read_interval(median, ends); });
}

Row read_row(const Node& node) {
  Row row;
  row.problem = parsed(node.at("problem"), parse_problem);
  row.name = node.at("name").text();
  row.device = node.at("device").text();
  row.implementation = parsed(node.at("implementation"), parse_implementation);
  row.kernel = node.at("kernel").text();
  row.verdict = read_verdict(node.at("verdict"));
  node.if_there("detail", [&](const Node& n) { row.detail = n.text(); });
  node.if_there("reason", [&](const Node& n) { row.reason = n.text(); });
  node.if_there("reproducer", [&](const Node& n) { row.reproducer = n.text(); });
  node.if_there("workspace_bytes", [&](const Node& n) {
    row.workspace_bytes = std::size_t(n.integer(0, std::numeric_limits<std::int64_t>::max()));
  });
  node.if_there("verification", [&](const Node& n) { row.verification = read_verification(n); });
  node.if_there("executed_flops", [&](const Node& n) { row.executed_flops = n.number(); });
  node.if_there("bytes", [&](const Node& n) { row.bytes = n.number(); });
  read_times(node, &row);
  return row;
}

Roof read_roof(const Node& node) {
  Roof roof;
  roof.device = node.at("device").text();
  roof.name = node.at("name").text();
  roof.unit = node.at("unit").text();
  roof.rate = node.at("rate").number();
  node.if_there("path", [&](const Node& n) { roof.path = n.text(); });
  node.if_there("working_set_bytes", [&](const Node& n) { roof.working_set_bytes = n.number(); });
  node.if_there("samples", [&](const Node& n) { roof.samples = n.numbers(); });
  return roof;
}

void check_schema(const Node& root) {
  const auto schema = root.at("schema").integer(1, std::numeric_limits<std::int64_t>::max());
  if (schema > Result::kSchema)
    fail(
        fmt::format("schema is {}, this metalconv reads up to {}; read the file with the version "
                    "that wrote it or a newer one",
                    schema, Result::kSchema));
}

Result read_result(const Node& root) {
  check_schema(root);
  Result result;
  result.workload = root.at("workload").text();
  root.if_there("mode", [&](const Node& n) { result.mode = n.text(); });
  root.if_there("command", [&](const Node& n) { result.command = n.text(); });
  root.if_there("started", [&](const Node& n) { result.started = n.text(); });
  root.if_there("seconds", [&](const Node& n) { result.seconds = n.number(); });
  root.if_there("interrupted", [&](const Node& n) { result.interrupted = n.flag(); });
  root.at("machine").each_key([&](const std::string& key, const Node& value) {
    result.machine.emplace_back(key, value.text());
  });
  root.if_there("warnings", [&](const Node& list) {
    list.each([&](const Node& warning) { result.warnings.push_back(warning.text()); });
  });
  root.at("roofs").each([&](const Node& roof) { result.roofs.push_back(read_roof(roof)); });
  root.at("results").each([&](const Node& row) { result.rows.push_back(read_row(row)); });
  return result;
}

}  // namespace

std::string to_json(const Result& result) {
  Json machine = Json::object();
  for (const auto& [key, value] : result.machine) machine[key] = value;
  Json roofs = Json::array(), rows = Json::array();
  for (const Roof& roof : result.roofs) roofs.push_back(roof_json(roof));
  for (const Row& row : result.rows) rows.push_back(row_json(row));
  const Json json = {{"schema", Result::kSchema},
                     {"workload", result.workload},
                     {"mode", result.mode},
                     {"command", result.command},
                     {"started", result.started},
                     {"seconds", number(result.seconds)},
                     {"interrupted", result.interrupted},
                     {"machine", machine},
                     {"warnings", result.warnings},
                     {"roofs", roofs},
                     {"results", rows}};
  // Text from drivers and file names may not be UTF-8: replaced, never refused.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result from_json(std::string_view text) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    // The library's sentence after its tag: "[json.exception.parse_error.101] parse error at ..."
    const std::string_view what = e.what();
    const std::size_t tag = what.find("] ");
    fail(std::string(tag == what.npos ? what : what.substr(tag + 2)));
  }
  return read_result({json, ""});
}

}  // namespace metalconv::bench
