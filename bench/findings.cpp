// SPDX-License-Identifier: Apache-2.0
#include "bench/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "bench/groups.h"
#include "bench/stats.h"
#include "bench/text.h"

namespace metalconv::bench {
namespace {

using std::string;
using std::string_view;
using Texts = std::vector<string>;

/// Below this part of the roofline a row is named as room for improvement.
constexpr double kGoodRoofPercent = 80;
/// Up to so many problems are listed one by one; beyond, the extremes and the mean stand for them.
constexpr std::size_t kListed = 4;
/// Growth of time and work that differ by less than this are called proportional.
constexpr double kProportional = 0.05;

// ---- ratios

/// time(a) / time(b): how many times as fast b is. From the samples; where a file has none, from
/// the ends of the intervals, which is wider.
Interval time_ratio(const Row& a, const Row& b) {
  if (&a == &b) return {1, 1, 1};
  if (!a.samples_us.empty() && !b.samples_us.empty())
    return ratio_interval(a.samples_us, b.samples_us);
  const Interval &x = *a.time_us, &y = *b.time_us;
  return {x.median / y.median, x.low / y.high, x.high / y.low};
}

enum class Relation { faster, slower, same };
Relation relation(const Interval& ratio) {
  if (ratio.low > 1) return Relation::faster;
  return ratio.high < 1 ? Relation::slower : Relation::same;
}

/// A ratio on a problem.
struct Comparison {
  const Group* group;
  Interval ratio;
};
using Comparisons = std::vector<Comparison>;

Comparisons only(const Comparisons& all, Relation wanted) {
  Comparisons some;
  for (const Comparison& c : all)
    if (relation(c.ratio) == wanted) some.push_back(c);
  return some;
}

double geometric_mean(const Comparisons& all) {
  double sum = 0;
  for (const Comparison& c : all) sum += std::log(c.ratio.median);
  return std::exp(sum / double(all.size()));
}

bool by_median(const Comparison& a, const Comparison& b) { return a.ratio.median < b.ratio.median; }

/// "2.41x (2.35 to 2.46) at 800x600 and ...": each one, or the extremes of many.
string list_factors(const Comparisons& all) {
  if (all.size() <= kListed) {
    Texts items;
    for (const Comparison& c : all)
      items.push_back(fmt::format("{} at {}", factor_text(c.ratio), c.group->label));
    return list_text(items);
  }
  const auto [low, high] = std::minmax_element(all.begin(), all.end(), by_median);
  return fmt::format("from {} at {} to {} at {}, geometric mean {} over {} problems",
                     factor_text(low->ratio), low->group->label, factor_text(high->ratio),
                     high->group->label, factor_text(geometric_mean(all)), all.size());
}

string list_labels(const Comparisons& all) {
  Texts labels;
  for (const Comparison& c : all) labels.push_back(c.group->label);
  if (labels.size() > 2 * kListed) {
    const std::size_t more = labels.size() - kListed;
    labels.resize(kListed);
    labels.push_back(fmt::format("{} more", more));
  }
  return list_text(labels);
}

/// The same, short, for rows.
string list_rows(const std::vector<const Row*>& rows) {
  Texts items;
  for (const Row* row : rows) {
    if (items.size() == 2 * kListed) {
      items.push_back(fmt::format("{} more", rows.size() - items.size()));
      break;
    }
    items.push_back(fmt::format("{} on {}", line_label(*row), row->name));
  }
  return list_text(items);
}

// ---- the view of a run that all topics share

struct View {
  explicit View(const Result& r)
      : result(r), groups(groups_of(r)), devices(devices_of(r)), axis(axis_of(groups)) {}

  bool several_devices() const { return devices.size() > 1; }
  /// "On cpu, " where it must be said.
  string on(string_view device) const {
    return several_devices() ? fmt::format("On {}, ", device) : "";
  }
  string start(string_view device, const string& sentence) const {
    return several_devices() ? on(device) + sentence : sentence_case(sentence);
  }
  /// "at every resolution", "at each of the 2 of 3 problems where both have a time", "at 800x600".
  string where(const Comparisons& all) const {
    if (all.size() == 1 && groups.size() == 1) return "at " + all.front().group->label;
    if (all.size() == groups.size()) return "at every " + axis.noun;
    return fmt::format("at {} of {} {}s (those where both have a time)", all.size(), groups.size(),
                       axis.noun);
  }
  std::vector<const Row*> rows(const std::function<bool(const Row&)>& test) const {
    std::vector<const Row*> found;
    for (const Row& row : result.rows)
      if (test(row)) found.push_back(&row);
    return found;
  }
  bool has(string_view device, Implementation role) const {
    return !rows([&](const Row& r) {
              return r.device == device && r.implementation == role;
            }).empty();
  }
  bool any_timed() const { return !rows(is_timed).empty(); }

  /// How many times as fast the fastest `ours` is as the fastest `theirs`, where both have a time.
  Comparisons compare(string_view device, Implementation theirs, Implementation ours) const {
    Comparisons all;
    for (const Group& group : groups) {
      const Row* a = fastest(group, device, theirs);
      const Row* b = fastest(group, device, ours);
      if (a && b) all.push_back({&group, time_ratio(*a, *b)});
    }
    return all;
  }
  /// The vendor rows that were the fastest somewhere: "onednn-2.6.3" or "the vendor's best".
  string vendor_name(string_view device) const {
    std::set<string> names;
    for (const Group& group : groups)
      if (const Row* row = fastest(group, device, Implementation::vendor))
        names.insert(line_label(*row));
    return names.size() == 1 ? *names.begin() : "the vendor's best";
  }

  const Result& result;
  std::vector<Group> groups;
  std::vector<string> devices;
  Axis axis;
};

constexpr auto kBasic = Implementation::basic;
constexpr auto kOptimized = Implementation::optimized;
constexpr auto kVendor = Implementation::vendor;

// ---- key observations

string without_stop(string sentence) {
  while (!sentence.empty() && sentence.back() == '.') sentence.pop_back();
  return sentence;
}

/// Why a role has no time on a device: its rows' verdicts and reasons, or that it has no row.
string why_untimed(const View& view, string_view device, Implementation role) {
  const auto rows =
      view.rows([&](const Row& r) { return r.device == device && r.implementation == role; });
  if (rows.empty()) return fmt::format("no {} ran on {}", to_string(role), device);
  const Row& row = *rows.front();
  if (row.above_roof) return fmt::format("{} ran above a roof on {}", line_label(row), row.name);
  if (row.verdict == Verdict::ok)
    return fmt::format("{} was verified on {}, not timed", line_label(row), device);

  return fmt::format("{} {} on {} ({})", line_label(row),
                     row.verdict == Verdict::failed ? "failed verification" : "was skipped",
                     row.name, without_stop(row.reason));
}

/// Our role against the vendor, in as many sentences as the data falls into.
void compare_with_vendor(const View& view, const string& device, Implementation ours, Texts* out) {
  const Comparisons all = view.compare(device, kVendor, ours);
  if (all.empty()) return;
  const string name(to_string(ours)), vendor = view.vendor_name(device);
  const Comparisons faster = only(all, Relation::faster), slower = only(all, Relation::slower),
                    same = only(all, Relation::same);
  const auto say = [&](const string& s) { out->push_back(view.start(device, s)); };
  if (faster.size() == all.size())
    return say(fmt::format("{} is faster than {} {}: {}.", name, vendor, view.where(all),
                           list_factors(all)));
  if (slower.size() == all.size())
    return say(fmt::format("{} is slower than {} {}: its speed-up is {}.", name, vendor,
                           view.where(all), list_factors(all)));
  if (same.size() == all.size())
    return say(
        fmt::format("{} and {} are indistinguishable {}: the intervals of the speed-up hold "
                    "1 ({}).",
                    name, vendor, view.where(all), list_factors(all)));
  if (!faster.empty())
    say(fmt::format("{} is faster than {} on {} of {} problems: {}.", name, vendor, faster.size(),
                    all.size(), list_factors(faster)));
  if (!slower.empty())
    say(fmt::format("{} is slower than {} on {} of {}: its speed-up is {}.", name, vendor,
                    slower.size(), all.size(), list_factors(slower)));
  if (!same.empty())
    say(fmt::format("{} and {} are indistinguishable on {}: the intervals of the speed-up hold 1.",
                    name, vendor, list_labels(same)));
}

void vendor_versions(const View& view, const string& device, Texts* out) {
  std::set<string> versions;
  std::vector<std::pair<string, string>> best;  // problem, version
  for (const Group& group : view.groups) {
    std::set<string> here;
    for (const Row* row : group.rows)
      if (row->device == device && row->implementation == kVendor && is_timed(*row))
        here.insert(line_label(*row));
    if (here.size() < 2) continue;
    versions.insert(here.begin(), here.end());
    best.emplace_back(group.label, line_label(*fastest(group, device, kVendor)));
  }
  if (best.empty()) return;
  const Texts names(versions.begin(), versions.end());
  const bool one = std::all_of(best.begin(), best.end(),
                               [&](const auto& b) { return b.second == best.front().second; });
  out->push_back(view.start(
      device,
      one ? fmt::format("{} were timed; {} has the least median on every problem where both were, "
                        "and speed-ups are against it.",
                        list_text(names), best.front().second)
          : fmt::format("{} were timed; speed-ups are against the faster one on each problem.",
                        list_text(names))));
}

Topic vendor_topic(const View& view) {
  Topic topic{"Vendor against our kernels", {}};
  for (const string& device : view.devices) {
    const std::size_t before = topic.sentences.size();
    compare_with_vendor(view, device, kOptimized, &topic.sentences);
    compare_with_vendor(view, device, kBasic, &topic.sentences);
    if (topic.sentences.size() > before) {
      vendor_versions(view, device, &topic.sentences);
      continue;
    }
    const bool vendor_missing = view.compare(device, kVendor, kVendor).empty();
    const Implementation missing = vendor_missing ? kVendor : kOptimized;
    topic.sentences.push_back(fmt::format("There is no comparison with the vendor: {}.",
                                          why_untimed(view, device, missing)));
  }
  return topic;
}

Topic optimized_topic(const View& view) {
  Topic topic{"Optimized over basic", {}};
  for (const string& device : view.devices) {
    const Comparisons all = view.compare(device, kBasic, kOptimized);
    if (all.empty()) continue;
    Texts items;
    for (const Comparison& c : all)
      if (all.size() <= 2 * kListed)
        items.push_back(fmt::format("{} less time at {} ({})",
                                    percent_text(100 * (1 - 1 / c.ratio.median)), c.group->label,
                                    factor_text(c.ratio.median)));
    const Comparisons faster = only(all, Relation::faster), slower = only(all, Relation::slower);
    const auto say = [&](const string& s) { topic.sentences.push_back(view.start(device, s)); };
    if (faster.size() == all.size() && !items.empty())
      say(fmt::format("optimized takes {}.", list_text(items)));
    else if (faster.size() == all.size())
      say(fmt::format("optimized is faster than basic {}: {}.", view.where(all),
                      list_factors(all)));
    else
      say(fmt::format("optimized is faster than basic on {} of {} problems: the speed-up is {}.",
                      faster.size(), all.size(), list_factors(all)));
    if (!slower.empty())
      say(fmt::format("optimized is slower than basic on {}.", list_labels(slower)));
  }
  return topic;
}

/// From the smallest to the largest problem of a sweep: does time grow with the work? The verdict,
/// and the line with its growth; empty when either end has no time.
std::pair<string, string> scaling(const View& view, const Line& line) {
  const std::size_t last = view.groups.size() - 1;
  const Row *a = line.cells[0], *b = line.cells[last];
  if (!a || !b || !is_timed(*a) || !is_timed(*b)) return {};
  const Interval time = time_ratio(*b, *a);
  const double work = b->problem.flops() / a->problem.flops();
  const double relative = time.median / work;
  string verdict;
  if (time.low / work > 1 + kProportional)
    verdict = fmt::format("{:.0f} % more than in proportion", 100 * (relative - 1));
  else if (time.high / work < 1 - kProportional)
    verdict = fmt::format("{:.0f} % less than in proportion", 100 * (1 - relative));
  else if (time.low / work >= 1 - kProportional && time.high / work <= 1 + kProportional)
    verdict = "in proportion within 5 %";
  else
    verdict = "too noisy to tell from proportion";
  return {verdict, fmt::format("{} {}", line.label, factor_text(time))};
}

Topic scaling_topic(const View& view) {
  Topic topic{fmt::format("Scaling with {}", view.axis.noun), {}};
  if (!view.axis.is_sweep()) return topic;
  const Group &first = view.groups.front(), &last = view.groups.back();
  const double growth = view.axis.values.back() / view.axis.values.front();
  for (const string& device : view.devices) {
    std::vector<std::pair<string, Texts>> verdicts;
    for (const Line& line : lines_of(view.groups, device)) {
      auto [verdict, growth_text] = scaling(view, line);
      if (verdict.empty()) continue;
      if (verdicts.empty() || verdicts.back().first != verdict) verdicts.push_back({verdict, {}});
      verdicts.back().second.push_back(std::move(growth_text));
    }
    if (verdicts.empty()) continue;
    string text = fmt::format("from {} to {} the {} grow {} and the operations {}. Time grows ",
                              first.label, last.label, view.axis.unit, factor_text(growth),
                              factor_text(last.problem.flops() / first.problem.flops()));
    for (std::size_t i = 0; i < verdicts.size(); ++i)
      text +=
          fmt::format("{}{}: {}", i ? "; " : "", verdicts[i].first, list_text(verdicts[i].second));
    topic.sentences.push_back(view.start(device, text + "."));
  }
  return topic;
}

bool on_roofline(const Row& row) { return is_timed(row) && row.roofline_percent > 0; }

/// The fastest row of our optimized kernels on each problem, where the roofline is known.
std::vector<const Row*> optimized_on_roofline(const View& view, string_view device) {
  std::vector<const Row*> rows;
  for (const Group& group : view.groups)
    if (const Row* row = fastest(group, device, kOptimized); row && on_roofline(*row))
      rows.push_back(row);
  return rows;
}

bool by_roofline(const Row* a, const Row* b) { return a->roofline_percent < b->roofline_percent; }

string bound_text(const std::vector<const Row*>& rows) {
  const auto memory =
      std::count_if(rows.begin(), rows.end(), [](const Row* r) { return r->bound_by == "memory"; });
  const string every = rows.size() == 1 ? "" : " on every problem";
  if (memory == std::ptrdiff_t(rows.size())) return "memory is the bound" + every;
  if (memory == 0) return "arithmetic is the bound" + every;
  return fmt::format("memory is the bound on {} of {} problems, arithmetic on the rest", memory,
                     rows.size());
}

Topic roofline_topic(const View& view) {
  Topic topic{"Roofline", {}};
  for (const string& device : view.devices) {
    auto rows = optimized_on_roofline(view, device);
    if (rows.empty()) continue;
    const auto [low, high] = std::minmax_element(rows.begin(), rows.end(), by_roofline);
    string text = fmt::format("optimized runs at {} of the roofline",
                              percent_range((*low)->roofline_percent, (*high)->roofline_percent));
    if (percent_text((*low)->roofline_percent) != percent_text((*high)->roofline_percent))
      text += fmt::format(" (lowest on {}, highest on {})", (*low)->name, (*high)->name);
    topic.sentences.push_back(view.start(device, text + "; " + bound_text(rows) + "."));
    std::erase_if(rows, [](const Row* r) { return r->roofline_percent >= kGoodRoofPercent; });
    if (!rows.empty())
      topic.sentences.push_back(view.start(
          device, fmt::format("below {:.0f} % of it: {}.", kGoodRoofPercent, list_rows(rows))));
  }
  for (const Row* row : view.rows([](const Row& r) { return r.above_roof; }))
    topic.sentences.push_back(fmt::format(
        "{} on {} ran at {} of the roofline: faster than a roof allows is an error in our counting "
        "or in the roof's measurement, not a success.",
        line_label(*row), row->name, percent_text(row->roofline_percent)));
  return topic;
}

Topic verification_topic(const View& view) {
  Topic topic{"Verification", {}};
  const auto ok = view.rows([](const Row& r) { return r.verdict == Verdict::ok; });
  const auto failed = view.rows([](const Row& r) { return r.verdict == Verdict::failed; });
  const auto skipped = view.rows([](const Row& r) { return r.verdict == Verdict::skipped; });
  if (!ok.empty()) {
    const Row* worst = *std::max_element(ok.begin(), ok.end(), [](const Row* a, const Row* b) {
      return a->verification.worst_ratio < b->verification.worst_ratio;
    });
    const auto exact =
        std::count_if(ok.begin(), ok.end(), [](const Row* r) { return r->verification.exact; });
    topic.sentences.push_back(fmt::format(
        "{} equal the float64 reference within the bound, {} of them bit for bit on integers, too; "
        "the largest error is {} of its bound ({} on {}).",
        count_text(ok.size(), "row"), exact, significant(worst->verification.worst_ratio, 2),
        line_label(*worst), worst->name));
  }
  for (const Row* row : failed)
    topic.sentences.push_back(fmt::format("FAILED, and not timed: {} on {} ({}): {}.",
                                          line_label(*row), row->name, row->device,
                                          without_stop(row->reason)));
  std::vector<std::pair<string, std::vector<const Row*>>> reasons;
  for (const Row* row : skipped) {
    auto found = std::find_if(reasons.begin(), reasons.end(),
                              [&](const auto& entry) { return entry.first == row->reason; });
    if (found == reasons.end()) found = reasons.insert(found, {row->reason, {}});
    found->second.push_back(row);
  }
  for (const auto& [reason, rows] : reasons)
    topic.sentences.push_back(
        fmt::format("Skipped: {}: {}.", list_rows(rows), without_stop(reason)));
  return topic;
}

// ---- conclusions

/// What a problem's timed rows say about the choice: the fastest, and those it cannot be told from.
struct Choice {
  const Group* group;
  Texts labels;  ///< fastest first
};

std::vector<Choice> choices(const View& view, const string& device) {
  std::vector<Choice> all;
  for (const Group& group : view.groups) {
    const Row* best = fastest(group, device);
    if (!best) continue;
    Choice choice{&group, {line_label(*best)}};
    for (const Row* row : group.rows)
      if (row != best && row->device == device && is_timed(*row) &&
          relation(time_ratio(*row, *best)) == Relation::same &&
          std::find(choice.labels.begin(), choice.labels.end(), line_label(*row)) ==
              choice.labels.end())
        choice.labels.push_back(line_label(*row));
    all.push_back(std::move(choice));
  }
  return all;
}

bool has_alternatives(const View& view, const string& device) {
  return std::any_of(view.groups.begin(), view.groups.end(), [&](const Group& group) {
    return 1 < std::count_if(group.rows.begin(), group.rows.end(), [&](const Row* row) {
             return row->device == device && is_timed(*row);
           });
  });
}

void conclude_choice(const View& view, const string& device, Texts* out) {
  const std::vector<Choice> all = choices(view, device);
  if (all.empty()) return;
  if (!has_alternatives(view, device)) {
    out->push_back(view.start(
        device, fmt::format("{} is the only implementation with a time: there is nothing to choose "
                            "between.",
                            all.front().labels.front())));
    return;
  }
  // Problems by what to choose there, in the order of first appearance.
  std::vector<std::pair<Texts, Comparisons>> by_labels;
  for (const Choice& c : all) {
    Texts key = c.labels;
    std::sort(key.begin(), key.end());
    auto found = std::find_if(by_labels.begin(), by_labels.end(),
                              [&](const auto& entry) { return entry.first == key; });
    if (found == by_labels.end()) found = by_labels.insert(found, {key, {}});
    found->second.push_back({c.group, {}});
  }
  for (const auto& [labels, problems] : by_labels) {
    const bool every = problems.size() == view.groups.size();
    const string where = every && problems.size() > 1 ? "at every " + view.axis.noun
                                                      : "for " + list_labels(problems);
    out->push_back(view.start(
        device,
        labels.size() == 1
            ? fmt::format("choose {} {}: it is the fastest verified there, by more than the noise.",
                          labels.front(), where)
            : fmt::format("{} are equally good {}: their times cannot be told apart.",
                          list_text(labels), where)));
  }
}

/// Whether basic is ever worth it, said only when optimized beats it wherever both have a time.
void conclude_basic(const View& view, const string& device, Texts* out) {
  const Comparisons all = view.compare(device, kBasic, kOptimized);
  if (all.empty() || only(all, Relation::faster).size() != all.size()) return;
  out->push_back(
      view.start(device,
                 "basic is for reading and for checking, not for speed: optimized was faster "
                 "wherever both were timed."));
}

void conclude_devices(const View& view, Texts* out) {
  if (!view.several_devices()) return;
  std::vector<std::pair<string, int>> wins;
  int compared = 0;
  for (const Group& group : view.groups) {
    const Row* best = nullptr;
    int devices = 0;
    for (const string& device : view.devices)
      if (const Row* row = fastest(group, device)) {
        ++devices;
        if (!best || row->time_us->median < best->time_us->median) best = row;
      }
    if (devices < 2) continue;
    ++compared;
    const string name = fmt::format("{} ({})", best->device, line_label(*best));
    const auto found =
        std::find_if(wins.begin(), wins.end(), [&](const auto& win) { return win.first == name; });
    if (found == wins.end())
      wins.emplace_back(name, 1);
    else
      ++found->second;
  }
  for (const auto& [name, count] : wins)
    out->push_back(fmt::format("Across devices, {} has the least median on {} of {} problems.",
                               name, count, compared));
}

Texts conclusions(const View& view) {
  Texts out;
  for (const string& device : view.devices) {
    conclude_choice(view, device, &out);
    conclude_basic(view, device, &out);
  }
  conclude_devices(view, &out);
  const auto above = view.rows([](const Row& r) { return r.above_roof; });
  if (!above.empty())
    out.push_back(
        fmt::format("Do not rely on times above a roof: {}. They are left out of every "
                    "comparison here.",
                    list_rows(above)));
  const auto failed = view.rows([](const Row& r) { return r.verdict == Verdict::failed; });
  if (!failed.empty())
    out.push_back(fmt::format("Do not use what failed verification: {}.", list_rows(failed)));
  if (!view.any_timed())
    out.push_back(
        "Nothing was timed in this run, so it does not say which implementation is "
        "faster.");
  return out;
}

// ---- next steps

string vendor_hint(string_view device) {
  if (device == "cpu")
    return "install oneDNN (libdnnl-dev on Debian and Ubuntu, onednn with Homebrew)";
  if (device == "cuda") return "make cuDNN available";
  return "run where the vendor's library is present";
}

void step_faults(const View& view, Texts* out) {
  for (const Row* row : view.rows([](const Row& r) { return r.verdict == Verdict::failed; }))
    out->push_back(fmt::format("Correct {} on {}; seen again with: {}", line_label(*row), row->name,
                               row->reproducer.empty() ? "metalconv verify" : row->reproducer));
  const auto above = view.rows([](const Row& r) { return r.above_roof; });
  if (!above.empty())
    out->push_back(
        fmt::format("Find the error in counting or in the roofs behind {}.", list_rows(above)));
}

void step_speed(const View& view, const string& device, Texts* out) {
  const Comparisons all = view.compare(device, kVendor, kOptimized);
  if (const Comparisons slower = only(all, Relation::slower); !slower.empty())
    out->push_back(view.start(device, fmt::format("close the gap to {}: {}.",
                                                  view.vendor_name(device), list_factors(slower))));
  if (const Comparisons same = only(all, Relation::same); !same.empty())
    out->push_back(view.start(
        device, fmt::format("separate optimized from {} by a longer run (--budget) on {}.",
                            view.vendor_name(device), list_labels(same))));
  auto rows = optimized_on_roofline(view, device);
  std::erase_if(rows, [](const Row* r) { return r->roofline_percent >= kGoodRoofPercent; });
  if (!rows.empty()) {
    const Row* worst = *std::min_element(rows.begin(), rows.end(), by_roofline);
    out->push_back(view.start(
        device, fmt::format("lift optimized where it is below {:.0f} % of the roofline, first {} "
                            "({}, bound by {}).",
                            kGoodRoofPercent, worst->name, percent_text(worst->roofline_percent),
                            worst->bound_by)));
  }
  if (!view.has(device, kVendor) && view.has(device, kOptimized))
    out->push_back(view.start(
        device, vendor_hint(device) + ", so that our kernels stand beside the vendor's."));
}

void step_noise(const View& view, Texts* out) {
  const auto wide =
      view.rows([](const Row& r) { return is_timed(r) && relative_half_width(*r.time_us) > 0.05; });
  if (!wide.empty())
    out->push_back(
        fmt::format("Measure again on a quieter machine or with more --budget; the "
                    "interval is wider than +-5 % for {}.",
                    list_rows(wide)));
}

/// Whether `name` is one of the workloads that the run joins with +.
bool ran(const Result& result, const string& name) {
  const string joined = "+" + result.workload + "+";
  return joined.find("+" + name + "+") != string::npos;
}

void step_coverage(const View& view, Texts* out) {
  const Result& result = view.result;
  Texts missing;
  for (const char* name :
       {"baseline", "kernel-sizes", "channels", "batches", "resnet50", "mobilenet-v2"})
    if (!ran(result, name)) missing.push_back(name);
  if (!missing.empty())
    out->push_back(
        fmt::format("Run the workloads that are not in this report: {} (metalconv bench "
                    "{}).",
                    list_text(missing), missing.front()));
  Texts devices;
  for (const char* name : {"metal", "cuda", "cpu"})
    if (std::find(view.devices.begin(), view.devices.end(), name) == view.devices.end())
      devices.push_back(name);
  if (!devices.empty())
    out->push_back(fmt::format("Run it on other devices: nothing here was measured on {}.",
                               list_text(devices)));
  std::set<DType> dtypes;
  std::set<Layout> layouts;
  for (const Group& group : view.groups) {
    dtypes.insert(group.problem.dtype);
    layouts.insert(group.problem.layout);
  }
  Texts more;
  for (DType dtype : {DType::f32, DType::f16, DType::bf16})
    if (!dtypes.count(dtype)) more.push_back(string(to_string(dtype)));
  for (Layout layout : {Layout::nchw, Layout::nhwc})
    if (!layouts.count(layout)) more.push_back(string(to_string(layout)));
  if (!more.empty())
    out->push_back(fmt::format("Not in this run: {} (--dtype, --layout).", list_text(more)));
  if (view.any_timed())
    out->push_back(result.mode == "cold"
                       ? "Compare with warm buffers: this run is cold (leave out --cold)."
                       : "Compare with cold buffers: this run is warm (--cold).");
}

Texts next_steps(const View& view) {
  Texts out;
  step_faults(view, &out);
  if (view.result.interrupted)
    out.push_back(fmt::format("Finish the run, which was interrupted: {}", view.result.command));
  for (const string& device : view.devices) step_speed(view, device, &out);
  step_noise(view, &out);
  step_coverage(view, &out);
  return out;
}

// ---- headline

string title(const View& view) {
  string text = fmt::format("{} on {}", view.result.workload.empty() ? "run" : view.result.workload,
                            view.devices.empty() ? "no device" : list_text(view.devices));
  if (view.any_timed()) return text + ", " + view.result.mode;
  if (view.result.rows.empty()) return text + ", nothing completed";
  return text + ", verified only";
}

/// The device whose figures lead: the first on which something was timed.
string leading_device(const View& view) {
  for (const string& device : view.devices)
    for (const Group& group : view.groups)
      if (fastest(group, device)) return device;
  return view.devices.empty() ? "" : view.devices.front();
}

/// The comparison on the largest problem.
const Comparison& largest(const Comparisons& all) {
  return *std::max_element(all.begin(), all.end(), [](const Comparison& a, const Comparison& b) {
    return a.group->problem.flops() < b.group->problem.flops();
  });
}

/// A workload of different layers has no problem that stands for all: the mean leads, and counts.
bool mean_leads(const View& view, const Comparisons& all) {
  return all.size() > 1 && view.axis.kind != Axis::Kind::resolution;
}

string headline(const View& view) {
  const string device = leading_device(view);
  const Comparisons all = view.compare(device, kVendor, kOptimized);
  if (all.empty()) {
    if (view.any_timed()) return {};
    return view.result.rows.empty() ? "The run holds no row." : "";
  }
  const string vendor = view.vendor_name(device);
  if (mean_leads(view, all)) {
    const auto faster = only(all, Relation::faster).size();
    const auto slower = only(all, Relation::slower).size();
    return fmt::format(
        "optimized is {} as fast as {} in the geometric mean over {} problems: "
        "faster on {}, slower on {}, indistinguishable on {}.",
        factor_text(geometric_mean(all)), vendor, all.size(), faster, slower,
        all.size() - faster - slower);
  }
  const Comparison& c = largest(all);
  const Row* ours = fastest(*c.group, device, kOptimized);
  const Row* theirs = fastest(*c.group, device, kVendor);
  string text = relation(c.ratio) == Relation::same
                    ? fmt::format("optimized and {} are indistinguishable at {}",
                                  line_label(*theirs), c.group->label)
                    : fmt::format("optimized is {} as fast as {} at {}", factor_text(c.ratio),
                                  line_label(*theirs), c.group->label);
  if (on_roofline(*ours))
    text += fmt::format(" and runs at {} of the roofline", percent_text(ours->roofline_percent));
  return text + ".";
}

string noun_count(const View& view, const Comparisons& all) {
  return all.size() == 1 ? "at " + all.front().group->label
                         : fmt::format("over {} {}s", all.size(), view.axis.noun);
}

/// "2.35x to 2.60x", or the mean of many.
Figure factor_figure(const View& view, const Comparisons& all, const string& label) {
  if (mean_leads(view, all))
    return {factor_text(geometric_mean(all)), label, "geometric mean " + noun_count(view, all),
            false};
  const auto [low, high] = std::minmax_element(all.begin(), all.end(), by_median);
  const string first = factor_text(low->ratio.median), last = factor_text(high->ratio.median);
  if (first == last) return {first, label, noun_count(view, all), false};
  return {fmt::format("{} to {}", first.substr(0, first.size() - 1), last), label,
          noun_count(view, all), false};
}

std::vector<Figure> figures(const View& view) {
  std::vector<Figure> out;
  const string device = leading_device(view);
  const string on = view.several_devices() ? " on " + device : "";
  if (const Comparisons all = view.compare(device, kVendor, kOptimized); !all.empty())
    out.push_back(factor_figure(view, all, "optimized vs " + view.vendor_name(device) + on));
  if (const auto rows = optimized_on_roofline(view, device); !rows.empty()) {
    const auto [low, high] = std::minmax_element(rows.begin(), rows.end(), by_roofline);
    out.push_back({percent_range((*low)->roofline_percent, (*high)->roofline_percent),
                   "of the roofline, optimized" + on, "roofs measured in this run", false});
  }
  if (const Comparisons all = view.compare(device, kBasic, kOptimized); !all.empty())
    out.push_back(factor_figure(view, all, "optimized vs basic" + on));
  const auto& rows = view.result.rows;
  const auto count = [&](Verdict v) {
    return std::count_if(rows.begin(), rows.end(), [&](const Row& r) { return r.verdict == v; });
  };
  const auto ok = count(Verdict::ok), failed = count(Verdict::failed);
  const auto skipped = count(Verdict::skipped);
  if (ok + failed > 0)
    out.push_back({fmt::format("{} of {}", ok, ok + failed), "checked rows verified",
                   failed > 0    ? fmt::format("{} FAILED", failed)
                   : skipped > 0 ? fmt::format("{} skipped", skipped)
                                 : string("against a float64 reference"),
                   failed > 0});
  return out;
}

// ---- method

Texts method(const View& view) {
  Texts out{
      "Every row is checked before it may be timed: against a float64 reference by the definition, "
      "on zero-mean data within an error bound and, where the kernel sums directly, bit for bit on "
      "integers; outputs are poisoned before."};
  std::set<string> coverage;
  for (const Row& row : view.result.rows)
    if (row.verdict == Verdict::ok && !row.verification.coverage.empty())
      coverage.insert(row.verification.coverage);
  if (coverage.size() == 1) out.push_back("Compared outputs: " + *coverage.begin() + ".");
  if (coverage.size() > 1)
    out.push_back(fmt::format("Compared outputs, by problem: {}; see coverage in the JSON.",
                              coverage.size() <= kListed
                                  ? list_text(Texts(coverage.begin(), coverage.end()))
                                  : fmt::format("{} kinds", coverage.size())));
  const auto timed = view.rows(is_timed);
  if (timed.empty()) return out;
  const auto range = [&](const auto& value) {
    const auto [low, high] =
        std::minmax_element(timed.begin(), timed.end(),
                            [&](const Row* a, const Row* b) { return value(*a) < value(*b); });
    const std::size_t least = value(**low), most = value(**high);
    return least == most ? std::to_string(most) : fmt::format("{} to {}", least, most);
  };
  out.push_back(fmt::format(
      "Times are medians of {} samples a row, each the mean of {} executions; implementations are "
      "interleaved in random order; intervals are bootstrap 95 %.",
      range([](const Row& r) { return r.samples_us.size(); }),
      range([](const Row& r) { return std::size_t(std::max(r.executions_per_sample, 0)); })));
  out.push_back(view.result.mode == "cold" ? "Cold: buffers rotate beyond the last-level cache."
                                           : "Warm: the same buffers each time, steady state.");
  out.push_back(
      "The roofline of a row is the larger of its operations / the measured arithmetic "
      "rate and its bytes / the measured memory rates; a speed-up is time(vendor) / "
      "time(row) against the fastest verified vendor row, above 1x is faster.");
  return out;
}

}  // namespace

Findings find(const Result& result) {
  const View view(result);
  Findings found;
  found.title = title(view);
  found.headline = sentence_case(headline(view));
  found.figures = figures(view);
  for (Topic topic : {vendor_topic(view), optimized_topic(view), scaling_topic(view),
                      roofline_topic(view), verification_topic(view)})
    if (!topic.sentences.empty() && (topic.title == "Verification" || view.any_timed()))
      found.observations.push_back(std::move(topic));
  found.conclusions = conclusions(view);
  found.next_steps = next_steps(view);
  found.method = method(view);
  return found;
}

}  // namespace metalconv::bench
