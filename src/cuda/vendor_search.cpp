// SPDX-License-Identifier: Apache-2.0
#include "cuda/vendor_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <random>

#include "core/half.h"
#include "core/reference.h"
#include "cuda/runtime.h"
#include "metalconv/error.h"

namespace metalconv::cuda::cudnn {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kTooSlow = 3;             // times the best so far, at first sight
constexpr double kSampleSeconds = 200e-6;  // executions are repeated until a sample takes this long
constexpr int kSamples = 5;
constexpr int kPoints = 48;  // outputs that are compared with the oracle

bool has_epilogue(const ConvProblem& p) { return p.bias || p.activation != Activation::none; }

/// `elements` of zero-mean random data: a short random block over and over.
std::vector<std::byte> random_tensor(DType dtype, std::int64_t elements, std::uint64_t seed) {
  constexpr std::int64_t kBlock = 65537;  // a prime, so that rows do not repeat in step
  std::vector<std::byte> data(std::size_t(elements) * size_of(dtype));
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  const std::int64_t head = std::min(elements, kBlock);
  for (std::int64_t i = 0; i < head; ++i) from_double(dtype, uniform(random), data.data(), i);
  const std::size_t block = std::size_t(head) * size_of(dtype);
  for (std::size_t at = block; at < data.size(); at += block)
    std::memcpy(data.data() + at, data.data(), std::min(block, data.size() - at));
  return data;
}

/// Inputs on the device, and what some outputs should be.
class Trial {
 public:
  Trial(Session& session, gpu::Runtime& runtime, const ConvProblem& problem, double error_bound)
      : session_(session), runtime_(runtime), problem_(problem), queue_(runtime.make_queue()) {
    row_.error_bound = error_bound;
    const auto x = random_tensor(problem.dtype, problem.x_elements(), 1);
    const auto w = random_tensor(problem.dtype, problem.w_elements(), 2);
    const auto bias = random_tensor(problem.dtype, problem.K, 3);
    x_[problem.layout] = uploaded(x);
    w_[Layout::nchw] = uploaded(w);
    bias_ = uploaded(bias);
    y_ = runtime.allocate(std::size_t(problem.y_bytes()));
    if (has_epilogue(problem))
      sum_ = runtime.allocate(std::size_t(problem.y_elements()) * sizeof(float));
    choose_points(x, w, bias);
  }

  /// Have x and w in `layout`. Throws Error when cuDNN does not convert them.
  void prepare(Layout layout) {
    if (!w_[layout]) w_[layout] = converted(kW, Layout::nchw, layout, *w_[Layout::nchw]);
    if (!x_[layout]) x_[layout] = converted(kX, problem_.layout, layout, *x_[problem_.layout]);
  }

  /// Seconds of one stage in `layout`; kNever when it is wrong, or far slower than `best`. Throws
  /// Error when it fails.
  double measure(const Stage& stage, Layout layout, Part part, double best) {
    grow_workspace(stage.plan.workspace_bytes);
    const auto run = [&] { stage.enqueue(session_, stream(), operands(layout), scratch()); };
    const Buffer& output = part == Part::convolution ? *sum_ : *y_;
    poison(output);
    run();
    queue_->wait();
    if (part != Part::epilogue && !is_right(output, layout, part)) {
      ++wrong_;
      return kNever;
    }
    return measure(run, best);
  }

  /// Seconds of the conversions of x and y between `layout` and the problem's.
  double measure_conversions(Layout layout) {
    const Layout outside = problem_.layout;
    if (layout == outside) return 0;
    const Conversion x_in = conversion(kX, outside, layout);
    const Conversion y_out = conversion(kY, layout, outside);
    const auto y = runtime_.allocate(std::size_t(problem_.y_bytes()));
    return measure(
        [&] {
          x_in.enqueue(session_, stream(), address(*x_[outside]), address(*x_[layout]));
          y_out.enqueue(session_, stream(), address(*y_), address(*y));
        },
        kNever);
  }

  int wrong() const { return wrong_; }

 private:
  using ByLayout = std::map<Layout, std::unique_ptr<Buffer>>;
  struct Point {
    std::array<std::int64_t, 4> nkpq;
    Expected whole, convolution;
  };

  static void* address(const Buffer& buffer) { return buffer.memory().address(); }
  Handle stream() const { return stream_of(*queue_); }
  void* scratch() const { return workspace_ ? address(*workspace_) : nullptr; }

  std::unique_ptr<Buffer> uploaded(const std::vector<std::byte>& host) {
    auto buffer = runtime_.allocate(host.size());
    buffer->upload(host.data(), host.size());
    return buffer;
  }

  Conversion conversion(TensorId id, Layout from, Layout to) const {
    return {session_.api(), problem_.dtype, sizes_of(problem_, id), from, to};
  }
  std::unique_ptr<Buffer> converted(TensorId id, Layout from, Layout to, const Buffer& source) {
    auto buffer = runtime_.allocate(source.memory().bytes);
    conversion(id, from, to).enqueue(session_, stream(), address(source), address(*buffer));
    queue_->wait();
    return buffer;
  }

  ConvProblem without_epilogue() const {
    ConvProblem p = problem_;
    p.bias = false;
    p.activation = Activation::none;
    return p;
  }

  void choose_points(const std::vector<std::byte>& x, const std::vector<std::byte>& w,
                     const std::vector<std::byte>& bias) {
    const Reference whole(problem_, x.data(), w.data(), bias.data());
    const Reference convolution(without_epilogue(), x.data(), w.data(), nullptr);
    const auto sizes = sizes_of(problem_, kY);
    std::mt19937_64 random(4);
    for (int i = 0; i < kPoints; ++i) {
      Point point{};
      for (std::size_t axis = 0; axis < 4; ++axis) {
        const std::int64_t last = sizes[axis] - 1;
        // The first two are the corners.
        point.nkpq[axis] = i == 0 ? 0 : i == 1 ? last : std::int64_t(random() % (last + 1));
      }
      const auto [n, k, p, q] = point.nkpq;
      point.whole = whole.at(n, k, p, q);
      point.convolution = convolution.at(n, k, p, q);
      points_.push_back(point);
    }
  }

  bool is_right(const Buffer& output, Layout layout, Part part) const {
    const bool whole = part == Part::whole;
    const DType dtype = whole ? problem_.dtype : DType::f32;
    const ConvProblem checked = whole ? problem_ : without_epilogue();
    const auto steps = strides(sizes_of(problem_, kY), layout);
    return std::all_of(points_.begin(), points_.end(), [&](const Point& point) {
      std::int64_t element = 0;
      for (std::size_t axis = 0; axis < 4; ++axis) element += point.nkpq[axis] * steps[axis];
      std::uint32_t bits = 0;
      output.download(&bits, size_of(dtype), std::size_t(element) * size_of(dtype));
      const Expected& expected = whole ? point.whole : point.convolution;
      const double error = std::abs(to_double(dtype, &bits, 0) - expected.value);
      return error <= error_bound(row_, checked, expected);
    });
  }

  Operands operands(Layout layout) const {
    Operands all{};
    all[kX] = address(*x_.at(layout));
    all[kW] = address(*w_.at(layout));
    all[kBias] = address(*bias_);
    all[kY] = address(*y_);
    if (sum_) all[kSum] = address(*sum_);
    return all;
  }

  void grow_workspace(std::size_t bytes) {
    if (bytes == 0 || (workspace_ && workspace_->memory().bytes >= bytes)) return;
    workspace_.reset();
    workspace_ = runtime_.allocate(bytes);
  }

  /// All bits set is a NaN in every dtype.
  void poison(const Buffer& buffer) {
    const Current current(session_.context());
    const Driver& cu = session_.context().driver();
    cu.call(cu.fill, pointer_of(address(buffer)), static_cast<unsigned char>(0xFF),
            buffer.memory().bytes, stream());
  }

  /// The best of several samples; kNever when the first is far slower than `best`.
  double measure(const std::function<void()>& run, double best) {
    const double first = queue_->time(run);
    if (first > kTooSlow * best) return kNever;
    const int repeats = int(std::clamp(kSampleSeconds / std::max(first, 1e-7), 1.0, 50.0));
    double seconds = kNever;
    for (int i = 0; i < kSamples; ++i) {
      const double sample = queue_->time([&] {
        for (int j = 0; j < repeats; ++j) run();
      });
      seconds = std::min(seconds, sample / repeats);
    }
    return seconds;
  }

  Session& session_;
  gpu::Runtime& runtime_;
  const ConvProblem problem_;
  KernelRow row_;
  std::unique_ptr<Queue> queue_;
  ByLayout x_, w_;
  std::unique_ptr<Buffer> bias_, y_, sum_, workspace_;
  std::vector<Point> points_;
  int wrong_ = 0;
};

/// One graph in one layout, with the engines still to try and the best of those tried.
struct Arena {
  Layout layout;
  Part part;
  std::shared_ptr<const ConvGraph> graph;
  std::deque<EngineConfig> untried;
  std::shared_ptr<const Stage> best;
  double seconds = kNever;
};

class Search {
 public:
  Search(const std::shared_ptr<Session>& session, gpu::Runtime& runtime, const ConvProblem& problem,
         const SearchLimits& limits)
      : session_(session),
        problem_(problem),
        limits_(limits),
        trial_(*session, runtime, problem, limits.error_bound) {}

  std::unique_ptr<const PreparedConv> run() {
    for (Layout layout : {Layout::nchw, Layout::nhwc}) enter(layout);
    compete();
    Route route = fastest_route();
    std::string note = fmt::format("{} of {} plans measured", tried_, offered_);
    if (trial_.wrong() > 0) note += fmt::format(", {} inaccurate", trial_.wrong());
    return std::make_unique<CudnnConv>(session_, problem_, std::move(route), std::move(note));
  }

 private:
  template <class Body>
  void attempt(const Body& body) {
    try {
      body();
    } catch (const Error& error) {
      if (failure_.empty()) failure_ = error.what();
    }
  }

  void enter(Layout layout) {
    attempt([&] {
      trial_.prepare(layout);
      conversions_[layout] = trial_.measure_conversions(layout);
      enter(layout, Part::whole);
      if (!has_epilogue(problem_)) return;
      enter(layout, Part::convolution);
      enter(layout, Part::epilogue);
    });
  }

  void enter(Layout layout, Part part) {
    attempt([&] {
      session_->plan([&](const Target& target) {
        auto graph = std::make_shared<const ConvGraph>(make_graph(target, problem_, layout, part));
        auto configs = engine_configs(target, *graph, problem_, part);
        offered_ += int(configs.size());
        arenas_.push_back({layout, part, std::move(graph), {}, nullptr, kNever});
        std::move(configs.begin(), configs.end(), std::back_inserter(arenas_.back().untried));
      });
    });
  }

  /// Rounds over the arenas, so that each has had its likeliest engines when time is up. An arena
  /// that has found nothing yet goes on.
  void compete() {
    const auto end = Clock::now() + std::chrono::duration<double>(limits_.seconds);
    const auto open = [&](const Arena& arena) {
      return !arena.untried.empty() && (Clock::now() < end || !arena.best);
    };
    while (std::any_of(arenas_.begin(), arenas_.end(), open))
      for (Arena& arena : arenas_)
        if (open(arena)) try_next(arena);
  }

  void try_next(Arena& arena) {
    EngineConfig config = std::move(arena.untried.front());
    arena.untried.pop_front();
    attempt([&] {
      EnginePlan plan =
          session_->plan([&](const Target& target) { return make_plan(target, config); });
      if (plan.workspace_bytes > limits_.workspace_bytes) return;
      Stage stage{arena.graph, std::move(config), std::move(plan)};
      const double seconds = trial_.measure(stage, arena.layout, arena.part, arena.seconds);
      ++tried_;
      if (seconds >= arena.seconds) return;
      arena.seconds = seconds;
      arena.best = std::make_shared<const Stage>(std::move(stage));
    });
  }

  Route fastest_route() const {
    Route best;
    double best_seconds = kNever;
    const std::vector<std::vector<Part>> ways{{Part::whole}, {Part::convolution, Part::epilogue}};
    for (const auto& [layout, conversions] : conversions_) {
      for (const auto& parts : ways) {
        double seconds = conversions;
        Route route{layout, {}};
        for (Part part : parts) {
          const Arena* arena = find(layout, part);
          seconds += arena ? arena->seconds : kNever;
          if (arena) route.stages.push_back(arena->best);
        }
        if (seconds >= best_seconds) continue;
        best_seconds = seconds;
        best = std::move(route);
      }
    }
    if (best.stages.empty())
      throw Error(ErrorCode::unsupported,
                  fmt::format("cuDNN {} has no engine for this problem{}{}",
                              session_->api().version(), failure_.empty() ? "" : ": ", failure_));
    return best;
  }

  const Arena* find(Layout layout, Part part) const {
    const auto found = std::find_if(arenas_.begin(), arenas_.end(), [&](const Arena& arena) {
      return arena.layout == layout && arena.part == part;
    });
    return found == arenas_.end() ? nullptr : &*found;
  }

  std::shared_ptr<Session> session_;
  const ConvProblem problem_;
  const SearchLimits limits_;
  Trial trial_;
  std::deque<Arena> arenas_;
  std::map<Layout, double> conversions_;  // seconds, of the layouts that can be had
  int offered_ = 0, tried_ = 0;
  std::string failure_;  // the first
};

}  // namespace

std::unique_ptr<const PreparedConv> find_fastest(const std::shared_ptr<Session>& session,
                                                 gpu::Runtime& runtime, const ConvProblem& problem,
                                                 const SearchLimits& limits) {
  return Search(session, runtime, problem, limits).run();
}

}  // namespace metalconv::cuda::cudnn
