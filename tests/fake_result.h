// SPDX-License-Identifier: Apache-2.0
// Results made up for tests of reports: the numbers are invented, no machine measured them.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/result.h"
#include "bench/stats.h"

namespace metalconv::bench::fake {

/// Samples around `median_us` with a spread of about `noise` as a part of it; always the same.
inline std::vector<double> samples(double median_us, double noise = 0.01, int count = 21) {
  std::vector<double> list;
  for (int i = 0; i < count; ++i)
    list.push_back(median_us * (1 + noise * std::sin(1.0 + i * 2.399963)));
  return list;
}

struct Spec {
  Implementation implementation;
  std::string kernel;
  double times_roof;  ///< time as a multiple of the roofline's
};

inline constexpr double kWrite = 73.2e9, kCopy = 66.1e9, kRead = 81.7e9, kFma = 445e9;

inline void time(Row* row, double us, double noise = 0.01) {
  row->samples_us = samples(us, noise);
  row->executions_per_sample = 4;
  row->stop = "interval";
  row->time_us = median_interval(row->samples_us);
  const double median_us = row->time_us->median;
  row->gflops = row->executed_flops / median_us * 1e-3;
  row->direct_gflops = row->problem.flops() / median_us * 1e-3;
  row->gbytes_per_s = row->bytes / median_us * 1e-3;
  row->roofline_percent = 100 * row->roof_us / median_us;
}

inline Row ok_row(const std::string& name, const std::string& problem, const Spec& spec,
                  const std::string& device = "cpu") {
  Row row;
  row.name = name;
  row.problem = parse_problem(problem);
  row.device = device;
  row.implementation = spec.implementation;
  row.kernel = spec.kernel;
  row.detail = "made up";
  row.verdict = Verdict::ok;
  row.verification = {"borders, 1 point a tile, 4096 random", 12288, 0.31, 2.4, true};
  row.executed_flops = row.problem.flops();
  row.bytes = row.problem.min_bytes();
  const double compute = row.executed_flops / kFma, memory = row.bytes / kWrite;
  row.roof_us = std::max(compute, memory) * 1e6;
  row.bound_by = compute >= memory ? "compute" : "memory";
  time(&row, row.roof_us * spec.times_roof);
  return row;
}

/// Speed-ups against the fastest vendor row of each problem and device.
inline void compare(Result* result) {
  for (Row& row : result->rows) {
    const Row* vendor = nullptr;
    for (const Row& other : result->rows)
      if (other.problem == row.problem && other.device == row.device && other.name == row.name &&
          other.implementation == Implementation::vendor && other.time_us &&
          (!vendor || other.time_us->median < vendor->time_us->median))
        vendor = &other;
    if (!vendor || !row.time_us) continue;
    row.speedup_vs_vendor =
        vendor == &row ? Interval{1, 1, 1} : ratio_interval(vendor->samples_us, row.samples_us);
  }
}

inline Result empty(const std::string& workload) {
  Result r;
  r.workload = workload;
  r.command = "metalconv bench " + workload + " --device cpu --output report";
  r.started = "2026-01-02T03:04:05Z";
  r.seconds = 41.5;
  r.machine = {{"cpu", "Made-up Processor 9000"}, {"cpu threads", "2"},
               {"cpu instruction set", "avx512"}, {"operating system", "Testix 1.0"},
               {"compiler", "g++ 12.2.0"},        {"metalconv", "0.1.0"}};
  r.roofs = {{"cpu", "write", "avx512, non-temporal stores", "B/s", 512e6, kWrite, {70e9, kWrite}},
             {"cpu", "copy", "avx512, non-temporal stores", "B/s", 512e6, kCopy, {64e9, kCopy}},
             {"cpu", "read", "avx512", "B/s", 512e6, kRead, {80e9, kRead}},
             {"cpu", "read", "avx512", "B/s", 4e6, 180e9, {171e9, 180e9}},
             {"cpu", "fma", "avx512", "FLOP/s", 0, kFma, {440e9, kFma}}};
  return r;
}

inline Result with_rows(const std::string& workload,
                        const std::vector<std::pair<std::string, std::string>>& problems,
                        const std::vector<std::vector<Spec>>& specs) {
  Result r = empty(workload);
  for (std::size_t i = 0; i < problems.size(); ++i)
    for (const Spec& spec : specs[i % specs.size()])
      r.rows.push_back(ok_row(problems[i].first, problems[i].second, spec));
  compare(&r);
  return r;
}

inline const std::vector<Spec>& four_specs() {
  static const std::vector<Spec> specs{{Implementation::basic, "basic", 21.0},
                                       {Implementation::optimized, "direct", 1.16},
                                       {Implementation::vendor, "onednn-2.6.3", 3.42},
                                       {Implementation::vendor, "onednn-3.2.0", 2.95}};
  return specs;
}

inline Result baseline() {
  return with_rows("baseline",
                   {{"800x600", "1x3x600x800,k64,3x3,p1"},
                    {"1024x768", "1x3x768x1024,k64,3x3,p1"},
                    {"1920x1080", "1x3x1080x1920,k64,3x3,p1"}},
                   {four_specs()});
}

/// The vendor is ahead at 1x1, level at 3x3 and behind from there on.
inline Result kernel_sizes() {
  std::vector<std::pair<std::string, std::string>> problems;
  std::vector<std::vector<Spec>> specs;
  const double vendor[] = {1.1, 1.201, 1.5, 1.4, 1.3};
  int i = 0;
  for (int k : {1, 3, 5, 7, 11}) {
    const std::string size = std::to_string(k) + "x" + std::to_string(k);
    problems.push_back({size, "1x3x768x1024,k64," + size + ",p" + std::to_string(k / 2)});
    specs.push_back({{Implementation::basic, "basic", 18.0},
                     {Implementation::optimized, k < 9 ? "direct" : "general", 1.2},
                     {Implementation::vendor, "onednn-2.6.3", vendor[i++]}});
  }
  return with_rows("kernel-sizes", problems, specs);
}

inline void fail(Row* row, const std::string& reason) {
  row->verdict = Verdict::failed;
  row->reason = reason;
  row->reproducer = "metalconv verify '" + to_text(row->problem) +
                    "' --device cpu --implementation " +
                    std::string(to_string(row->implementation)) + " --only " + row->kernel;
  row->verification.exact = false;
  row->verification.worst_ratio = std::nan("");
  row->time_us.reset();
  row->speedup_vs_vendor.reset();
  row->samples_us.clear();
  row->executions_per_sample = 0;
  row->stop.clear();
  row->bound_by.clear();
  row->gflops = row->direct_gflops = row->gbytes_per_s = row->roof_us = row->roofline_percent = 0;
}

inline void skip(Row* row, const std::string& reason) {
  fail(row, reason);
  row->verdict = Verdict::skipped;
  row->reproducer.clear();
  row->verification = {};
}

/// The baseline with a failed and two skipped rows, and a name that is an attack on HTML.
inline Result troubled() {
  Result r = baseline();
  fail(&r.rows[1], "y[0,3,599,0] is nan, expected 1.25 within 3e-06");
  skip(&r.rows[2], "it crashed in a child process (signal 11)");
  skip(&r.rows[7], "it crashed in a child process (signal 11)");
  r.rows[9].above_roof = true;
  r.machine.emplace_back("host", "<script>alert('x')</script>|`*_[a](b)");
  r.warnings = {
      "Other programs kept 1.1 of 2 processors busy during the run: end them and run it again."};
  for (Row& row : r.rows) row.speedup_vs_vendor.reset();
  compare(&r);
  return r;
}

/// Many layers of different kinds, one noisy vendor.
inline Result layers() {
  std::vector<std::pair<std::string, std::string>> problems;
  std::vector<std::vector<Spec>> specs;
  for (int i = 0; i < 24; ++i) {
    const int channels = 16 << (i % 6), size = 112 >> (i / 6), kernel = i % 2 ? 3 : 1;
    problems.push_back({"conv" + std::to_string(2 + i / 6) + ".layer" + std::to_string(i % 6),
                        "1x" + std::to_string(channels) + "x" + std::to_string(size) + "x" +
                            std::to_string(size) + ",k" + std::to_string(2 * channels) + "," +
                            std::to_string(kernel) + "x" + std::to_string(kernel) + ",p" +
                            std::to_string(kernel / 2) + ",bias,relu"});
    specs.push_back({{Implementation::basic, "basic", 14.0 + i % 5},
                     {Implementation::optimized, "general", 1.1 + 0.03 * (i % 7)},
                     {Implementation::vendor, "onednn-2.6.3", 1.05 + 0.08 * (i % 9)},
                     {Implementation::vendor, "onednn-3.2.0", 1.15 + 0.05 * (i % 8)}});
  }
  return with_rows("resnet50", problems, specs);
}

}  // namespace metalconv::bench::fake
