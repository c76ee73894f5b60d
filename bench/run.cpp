// SPDX-License-Identifier: Apache-2.0
#include "bench/run.h"

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "bench/stats.h"
#include "bench/verify.h"
#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

/// Of the memory that a device says is free, the part that a run may take.
constexpr double kMemoryShare = 0.9;

/// A row of the result on its way, with the plan behind it while it may still be timed.
struct Entry {
  Row row;
  std::unique_ptr<Subject> subject;
};

class CaseRunner {
 public:
  CaseRunner(Device& device, const Case& c, const RunOptions& options,
             std::function<bool(double, std::string)> tick)
      : device_(device), case_(c), options_(options), tick_(std::move(tick)) {}

  /// Makes the plans that run() will make, so that the device has their kernels by then.
  void compile() const {
    for (const Candidate& c : wanted_candidates()) {
      if (!c.refusal.empty() || interrupted()) continue;
      try {
        make_plan(device_, case_.problem, {c.row->implementation, c.row->name});
      } catch (const Error&) {  // run() reports it
      }
    }
  }

  /// Empty when the run was interrupted before the problem was complete.
  std::vector<Row> run() {
    const auto candidates = wanted_candidates();
    if (const std::string why = does_not_fit(); !why.empty()) {
      for (const Candidate& c : candidates) skip(c, why);
    } else {
      verify_all(candidates);
      if (!interrupted() && timed()) time_all();
    }
    if (interrupted()) return {};
    std::vector<Row> rows;
    for (Entry& e : entries_) rows.push_back(std::move(e.row));
    return rows;
  }

 private:
  bool interrupted() const { return options_.interrupted && *options_.interrupted; }
  bool timed() const {
    // An empty output (N = 0) has no time.
    if (case_.problem.y_elements() == 0) return false;
    return options_.time && (device_.info().timed || options_.force_time);
  }

  static double least_estimate(const std::vector<Candidate>& all) {
    double least = HUGE_VAL;
    for (const Candidate& c : all)
      if (c.row->implementation == Implementation::optimized && c.refusal.empty())
        least = std::min(least, c.cost);
    return least;
  }

  /// One candidate a role at least, so that a role that no kernel fills still has its row.
  std::vector<Candidate> wanted_candidates() const {
    auto roles = options_.implementations;
    if (roles.empty())
      roles = {Implementation::basic, Implementation::optimized, Implementation::vendor};
    const auto all = explain(device_, case_.problem, options_.wisdom, options_.shipped);
    const double most = options_.within * least_estimate(all);
    std::vector<Candidate> wanted;
    for (Implementation role : roles) {
      const std::size_t before = wanted.size();
      const Candidate* refused = nullptr;
      for (const Candidate& c : all) {
        if (c.row->implementation != role) continue;
        if (!options_.kernel.empty() && c.row->name != options_.kernel) continue;
        if (!c.refusal.empty()) {
          refused = refused ? refused : &c;
          continue;
        }
        const bool every =
            options_.every_kernel || role == Implementation::vendor || !options_.kernel.empty();
        const bool runs = every || c.chosen;
        const bool dear = options_.within > 0 && role == Implementation::optimized &&
                          !(std::isfinite(c.cost) && c.cost <= most);
        if (runs && !dear) wanted.push_back(c);
      }
      if (wanted.size() == before && refused) wanted.push_back(*refused);
    }
    return wanted;
  }

  std::string does_not_fit() const {
    const double need = Operands::bytes(case_.problem), room = double(device_.info().memory_bytes);
    // Verification keeps x, w and y on the host as well.
    const double share = device_.info().name == "cpu" || device_.info().name == "emulator" ? 2 : 1;
    if (need * share <= kMemoryShare * room) return {};
    return fmt::format("it needs {:.1f} GiB, but {:.1f} GiB are free on {}", need * share / 0x1p30,
                       room / 0x1p30, device_.info().name);
  }

  Entry& add(const KernelRow& kernel) {
    Entry& e = entries_.emplace_back();
    e.row.name = case_.name;
    e.row.problem = case_.problem;
    e.row.device = device_.info().name;
    e.row.implementation = kernel.implementation;
    e.row.kernel = kernel.name;
    e.row.bytes = case_.problem.min_bytes();
    e.row.executed_flops =
        kernel.executed_flops ? kernel.executed_flops(case_.problem) : case_.problem.flops();
    return e;
  }

  void skip(const Candidate& c, const std::string& reason) {
    Entry& e = add(*c.row);
    e.row.verdict = Verdict::skipped;
    e.row.reason = reason;
  }

  void verify_all(const std::vector<Candidate>& candidates) {
    operands_ = std::make_unique<Operands>(device_, case_.problem);
    queue_ = device_.make_queue();
    Checks checks(case_.problem, options_.effort);
    for (std::size_t i = 0; i < candidates.size() && !interrupted(); ++i) {
      const KernelRow& kernel = *candidates[i].row;
      tick_(0.3 * double(i) / double(candidates.size()), fmt::format("verifying {}", kernel.name));
      if (!candidates[i].refusal.empty()) {
        skip(candidates[i], candidates[i].refusal);
        continue;
      }
      verify_one(kernel, checks);
    }
  }

  void verify_one(const KernelRow& kernel, Checks& checks) {
    Entry& e = add(kernel);
    if (kernel.implementation == Implementation::vendor && options_.try_vendor) {
      e.row.reason = options_.try_vendor(case_.problem, kernel);
      if (!e.row.reason.empty()) return;
    }
    try {
      e.subject = std::make_unique<Subject>(
          device_, *queue_, make_plan(device_, case_.problem, {kernel.implementation, kernel.name}),
          *operands_);
    } catch (const Error& error) {
      e.row.reason = error.what();
      return;
    }
    e.row.detail = e.subject->plan().detail();
    e.row.workspace_bytes = e.subject->plan().workspace_bytes();
    const bool faulty =
        !options_.inject.empty() && kernel.implementation == Implementation::optimized;
    Verified v = verify(*e.subject, checks, faulty ? &find_fault(options_.inject) : nullptr);
    e.row.verification = v.seen;
    e.row.verdict = v.failure.empty() ? Verdict::ok : Verdict::failed;
    e.row.reason = v.failure;
    if (!timed()) e.subject.reset();  // its packed weights may be large
    if (e.row.verdict == Verdict::ok) return;
    e.row.reproducer =
        reproducer(case_.problem, device_, kernel,
                   (faulty ? " --inject " + options_.inject : "") + options_.reproduce_flags);
    e.subject.reset();  // what is not verified cannot be timed
  }

  void time_all() {
    std::vector<Entry*> verified;
    std::vector<Subject*> subjects;
    for (Entry& e : entries_)
      if (e.row.verdict == Verdict::ok) {
        verified.push_back(&e);
        subjects.push_back(e.subject.get());
      }
    MeasureOptions options = options_.measure;
    options.cold = options_.cold;
    const std::string what = fmt::format("timing {} kernels", subjects.size());
    auto samples = measure(subjects, options, [&](double f) { return tick_(0.3 + 0.7 * f, what); });
    if (interrupted()) return;
    for (std::size_t i = 0; i < verified.size(); ++i) fill_in(&verified[i]->row, samples[i]);
    compare_with_vendor(verified);
  }

  void fill_in(Row* row, Samples& samples) const {
    row->samples_us = std::move(samples.us);
    row->executions_per_sample = samples.executions;
    row->stop = samples.stop;
    row->time_us = median_interval(row->samples_us);
    const double us = row->time_us->median;
    row->gflops = row->executed_flops / us * 1e-3;
    row->direct_gflops = row->problem.flops() / us * 1e-3;
    row->gbytes_per_s = row->bytes / us * 1e-3;
  }

  static void compare_with_vendor(const std::vector<Entry*>& rows) {
    const Row* vendor = nullptr;
    for (const Entry* e : rows)
      if (e->row.implementation == Implementation::vendor &&
          (!vendor || e->row.time_us->median < vendor->time_us->median))
        vendor = &e->row;
    if (!vendor) return;
    for (Entry* e : rows)
      e->row.speedup_vs_vendor = &e->row == vendor
                                     ? Interval{1, 1, 1}
                                     : ratio_interval(vendor->samples_us, e->row.samples_us);
  }

  Device& device_;
  const Case& case_;
  const RunOptions& options_;
  std::function<bool(double, std::string)> tick_;
  std::unique_ptr<Operands> operands_;
  std::unique_ptr<Queue> queue_;
  std::vector<Entry> entries_;
};

void set_against_roofs(Row* row, const std::vector<Roof>& roofs, bool cold) {
  const Floor floor = roofline_floor(roofs, row->problem, row->executed_flops, cold);
  row->roof_us = floor.us;
  row->bound_by = floor.bound_by;
  row->roofline_percent = 100 * floor.us / row->time_us->median;
  // A vendor may use an algorithm with fewer operations than we count for it. The roofs are
  // themselves measured, to within a few percent.
  row->above_roof = row->roofline_percent > 105 && row->implementation != Implementation::vendor;
}

/// A run on one device after the other.
class Runner {
 public:
  Runner(const Workload& workload, const RunOptions& options, std::size_t devices)
      : workload_(workload), options_(options) {
    progress_.total = devices * workload.cases.size();
    result_.workload = workload.name;
    result_.mode = options.cold ? "cold" : "warm";
  }

  /// Roofs are measured before and after the problems, and the better counts: the machine may be
  /// slower for others' sake at either time.
  void run(Device& device) {
    const bool timed =
        options_.time && !workload_.cases.empty() && (device.info().timed || options_.force_time);
    if (options_.compile_ahead) compile(device);
    std::vector<Roof> roofs;
    if (timed) roofs = roofs_of(device);
    const std::size_t first = result_.rows.size();
    for (const Case& c : workload_.cases) {
      if (interrupted()) break;
      for (Row& row : CaseRunner(device, c, options_, tick_for(c.name)).run())
        result_.rows.push_back(std::move(row));
      ++progress_.done;
    }
    if (!timed) return;
    if (!interrupted()) keep_better(&roofs, roofs_of(device));
    for (std::size_t i = first; i < result_.rows.size(); ++i)
      if (result_.rows[i].time_us) set_against_roofs(&result_.rows[i], roofs, options_.cold);
    result_.roofs.insert(result_.roofs.end(), roofs.begin(), roofs.end());
  }

  Result take() {
    result_.interrupted = interrupted();
    return std::move(result_);
  }

 private:
  using Tick = std::function<bool(double, std::string)>;

  bool interrupted() const { return options_.interrupted && *options_.interrupted; }

  Tick tick_for(const std::string& where) {
    return [this, where](double fraction, const std::string& what) {
      progress_.fraction = fraction;
      progress_.what = fmt::format("{}: {}", where, what);
      if (options_.progress) options_.progress(progress_);
      return !interrupted();
    };
  }

  void compile(Device& device) {
    tick_for(device.info().name)(0, "compiling kernels");
    const tbb::blocked_range<std::size_t> all(0, workload_.cases.size());
    tbb::parallel_for(all, [&](const auto& range) {
      for (std::size_t i = range.begin(); i != range.end(); ++i)
        CaseRunner(device, workload_.cases[i], options_, nullptr).compile();
    });
  }

  std::vector<Roof> roofs_of(Device& device) {
    constexpr int kRounds = 4;
    const Tick tick = tick_for(device.info().name);
    return measure_roofs(device, kRounds, [&](double f) { return tick(f, "measuring roofs"); });
  }

  static void keep_better(std::vector<Roof>* roofs, const std::vector<Roof>& later) {
    for (std::size_t i = 0; i < roofs->size(); ++i) {
      Roof& roof = (*roofs)[i];
      roof.rate = std::max(roof.rate, later[i].rate);
      roof.samples.insert(roof.samples.end(), later[i].samples.begin(), later[i].samples.end());
    }
  }

  const Workload& workload_;
  const RunOptions& options_;
  Progress progress_;
  Result result_;
};

}  // namespace

Result run(const std::vector<Device*>& devices, const Workload& workload,
           const RunOptions& options) {
  Runner runner(workload, options, devices.size());
  for (Device* device : devices) runner.run(*device);
  return runner.take();
}

}  // namespace metalconv::bench
