// SPDX-License-Identifier: Apache-2.0
#include "bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "bench/stats.h"

namespace metalconv::bench {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Above this a warm-up costs more than it tells: the work itself takes far longer than waking
/// threads does.
constexpr double kNoWarmUpSeconds = 0.25;
/// Assumed for devices that hide their last-level cache.
constexpr double kHiddenCache = 256e6;

/// Sets of operands that executions rotate through: one when warm; when cold, so many that a set
/// has left the last-level cache before it comes round again.
class Rotation {
 public:
  Rotation(Subject& subject, bool cold) {
    sets_.push_back(&subject.operands());
    if (!cold) return;
    const ConvProblem& p = subject.plan().problem();
    const double cache = double(subject.device().info().last_level_cache_bytes);
    const double room = 2 * (cache > 0 ? cache : kHiddenCache);
    const auto count = int(std::clamp(room / Operands::bytes(p) + 1, 2.0, 64.0));
    for (int i = 1; i < count; ++i) {
      owned_.push_back(std::make_unique<Operands>(subject.device(), p));
      owned_.back()->x.upload(subject.operands().x.download());
      owned_.back()->bias.upload(subject.operands().bias.download());
      sets_.push_back(owned_.back().get());
    }
  }
  Operands& next() { return *sets_[turn_++ % sets_.size()]; }

 private:
  std::vector<std::unique_ptr<Operands>> owned_;
  std::vector<Operands*> sets_;
  std::size_t turn_ = 0;
};

class Timed {
 public:
  Timed(Subject& subject, const MeasureOptions& options) : subject_(subject), options_(options) {}

  /// Find out how long a sample must be; an execution that needs no warming up is one already.
  void calibrate(Rotation& rotation) {
    seconds_ = run(rotation, 1);
    if (seconds_ < kNoWarmUpSeconds)
      seconds_ = run(rotation, 1);
    else
      samples_.us.push_back(seconds_ * 1e6);
    const double repeats = options_.sample_seconds / std::max(seconds_, 1e-7);
    samples_.executions = int(std::clamp(std::ceil(repeats), 1.0, 1e5));
  }

  void sample(Rotation& rotation) {
    if (seconds_ < kNoWarmUpSeconds) run(rotation, 1);
    samples_.us.push_back(run(rotation, samples_.executions) / samples_.executions * 1e6);
  }

  double sample_cost() const { return seconds_ * (samples_.executions + 1); }

  bool enough() {
    const auto count = int(samples_.us.size());
    if (count < options_.min_samples) return false;
    if (count >= 5 &&
        relative_half_width(median_interval(samples_.us)) <= options_.target_half_width)
      samples_.stop = "interval";
    else if (count >= options_.max_samples)
      samples_.stop = "samples";
    return !samples_.stop.empty();
  }

  bool has_minimum() const { return int(samples_.us.size()) >= options_.min_samples; }
  Samples take() {
    if (samples_.stop.empty()) samples_.stop = "budget";
    return std::move(samples_);
  }

 private:
  double run(Rotation& rotation, int executions) {
    return subject_.queue().time([&] {
      for (int i = 0; i < executions; ++i) subject_.execute(rotation.next());
    });
  }

  Subject& subject_;
  const MeasureOptions& options_;
  double seconds_ = 0;
  Samples samples_;
};

/// The roof of that name for `bytes`: of the smallest working set that holds them, else of the
/// largest; the faster of two code paths.
const Roof* find_roof(const std::vector<Roof>& roofs, const std::string& name, double bytes) {
  const auto better = [&](const Roof& a, const Roof& b) {
    const bool a_holds = a.working_set_bytes >= bytes, b_holds = b.working_set_bytes >= bytes;
    if (a_holds != b_holds) return a_holds;
    if (a.working_set_bytes != b.working_set_bytes)
      return a_holds == (a.working_set_bytes < b.working_set_bytes);
    return a.rate > b.rate;
  };
  const Roof* best = nullptr;
  for (const Roof& roof : roofs)
    if (roof.name == name && (!best || better(roof, *best))) best = &roof;
  return best;
}

}  // namespace

std::vector<Samples> measure(const std::vector<Subject*>& subjects, const MeasureOptions& options,
                             const Tick& tick) {
  if (subjects.empty()) return {};
  const auto start = Clock::now();
  Rotation rotation(*subjects.front(), options.cold);
  std::vector<Timed> timed;
  for (Subject* s : subjects) timed.emplace_back(*s, options);
  for (Timed& t : timed) t.calibrate(rotation);

  std::mt19937_64 random(options.seed);
  std::vector<Timed*> open;
  for (Timed& t : timed) open.push_back(&t);
  while (!open.empty()) {
    std::shuffle(open.begin(), open.end(), random);
    for (Timed* t : open) {
      const bool late = since(start) + t->sample_cost() > options.budget_seconds;
      if (late && t->has_minimum()) continue;
      t->sample(rotation);
      if (!tick(std::min(since(start) / options.budget_seconds, 1.0)))
        return std::vector<Samples>(subjects.size());
    }
    const bool late = since(start) > options.budget_seconds;
    std::erase_if(open, [&](Timed* t) {
      return t->enough() || (t->has_minimum() &&
                             (late || since(start) + t->sample_cost() > options.budget_seconds));
    });
  }
  std::vector<Samples> result;
  for (Timed& t : timed) result.push_back(t.take());
  return result;
}

std::vector<Roof> measure_roofs(Device& device, int rounds, const Tick& tick) {
  const auto queue = device.make_queue();
  const auto probes = device.roof_probes();
  std::vector<Roof> roofs;
  for (const RoofProbe& p : probes)
    roofs.push_back({device.info().name,
                     p.name,
                     p.path,
                     p.working_set_bytes == 0 ? "FLOP/s" : "B/s",
                     p.working_set_bytes,
                     0,
                     {}});
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < probes.size(); ++i) {
      if (round == 0) probes[i].run(*queue), queue->wait();  // first touch of its pages
      const double rate = probes[i].work / queue->time([&] { probes[i].run(*queue); });
      roofs[i].samples.push_back(rate);
      roofs[i].rate = std::max(roofs[i].rate, rate);
      if (!tick(double(round) / rounds)) return roofs;
    }
  return roofs;
}

Floor roofline_floor(const std::vector<Roof>& roofs, const ConvProblem& p, double executed_flops,
                     bool cold) {
  const double bytes = p.min_bytes();
  // Cold data comes from memory however small the problem is.
  const double working_set = cold ? HUGE_VAL : bytes;
  const auto rate = [&](const std::string& name) {
    const Roof* roof = find_roof(roofs, name, working_set);
    return roof ? roof->rate : 0.0;
  };
  const auto seconds = [](double work, double per_second) {
    return per_second > 0 ? work / per_second : 0.0;
  };
  const double best_bytes = std::max({rate("read"), rate("write"), rate("copy")});
  const double memory =
      std::max(seconds(double(p.y_bytes()), rate("write")), seconds(bytes, best_bytes));
  // The fastest that the device can multiply in the problem's precision: three products of tf32 are
  // one of f32.
  const bool exact = p.dtype == DType::f32 && p.precision == Precision::ieee;
  const std::string factors(p.dtype == DType::f32 ? "tf32" : to_string(p.dtype));
  const double matrix = rate("matrix " + factors) / (exact ? 3 : 1);
  const double compute = seconds(executed_flops, std::max(rate("fma"), matrix));
  if (memory == 0 && compute == 0) return {};
  return {std::max(memory, compute) * 1e6, compute >= memory ? "compute" : "memory"};
}

}  // namespace metalconv::bench
