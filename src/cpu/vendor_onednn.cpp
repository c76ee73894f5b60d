// SPDX-License-Identifier: Apache-2.0
// A loadable module: the convolution of oneDNN 2.x or 3.x behind the C ABI of vendor_api.h.
// oneDNN's own first choice is often not its fastest, above all when activations must enter and
// leave in a plain layout. So that the vendor's best is what we compare with, every way that oneDNN
// offers is tried on the real problem when a plan is made.
#include <oneapi/dnnl/dnnl_debug.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cpu/vendor_api.h"

namespace metalconv::cpu {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using std::size_t;
using ConvDesc = dnnl::convolution_forward::primitive_desc;
using Tag = memory::format_tag;

constexpr int kImplementations = 4;  // later ones of oneDNN's list never won
constexpr size_t kAlignment = 64;    // a cache line and the widest vector

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// -- the problem in oneDNN's terms --

memory::desc f32(const memory::dims& sizes, Tag tag) {
  return {sizes, memory::data_type::f32, tag};
}

void append(dnnl::post_ops* ops, algorithm kind, float alpha, float beta) {
#if DNNL_VERSION_MAJOR >= 3
  ops->append_eltwise(kind, alpha, beta);
#else
  ops->append_eltwise(1, kind, alpha, beta);
#endif
}

dnnl::primitive_attr attributes(Activation activation) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops ops;
  if (activation == Activation::relu) append(&ops, algorithm::eltwise_relu, 0, 0);
  if (activation == Activation::relu6) append(&ops, algorithm::eltwise_clip, 0, 6);
  attr.set_post_ops(ops);
  return attr;
}

struct Terms {
  explicit Terms(const VendorRequest& r) : Terms(r.problem, r.P, r.Q) {}

  memory::dims x_sizes, w_sizes, y_sizes, strides, dilations, pad_begin, pad_end;
  bool nchw;
  memory::desc x, w, bias, y;  ///< in the problem's own layout
  dnnl::primitive_attr attr;

 private:
  Terms(const ConvProblem& c, std::int64_t P, std::int64_t Q)
      : x_sizes{c.N, c.C, c.H, c.W},
        w_sizes{c.K, c.C_per_group(), c.R, c.S},
        y_sizes{c.N, c.K, P, Q},
        strides{c.stride_h, c.stride_w},
        dilations{c.dilation_h - 1, c.dilation_w - 1},  // oneDNN counts the gaps
        pad_begin{c.pad_top, c.pad_left},
        pad_end{c.pad_bottom, c.pad_right},
        nchw(c.layout == Layout::nchw),
        attr(attributes(c.activation)) {
    if (c.groups > 1) w_sizes = {c.groups, c.K_per_group(), c.C_per_group(), c.R, c.S};
    x = f32(x_sizes, nchw ? Tag::nchw : Tag::nhwc);
    y = f32(y_sizes, nchw ? Tag::nchw : Tag::nhwc);
    w = f32(w_sizes, c.groups > 1 ? Tag::goihw : Tag::oihw);
    if (c.bias) bias = f32({c.K}, Tag::x);
  }
};

/// use(description) for a convolution between these layouts, if oneDNN has one; true when there is
/// none.
template <class Use>
bool describe(const Terms& t, algorithm kind, const memory::desc& x, const memory::desc& y,
              const Use& use) {
  const memory::desc w = f32(t.w_sizes, Tag::any);
  const auto inference = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
  ConvDesc conv(engine(), inference, kind, x, w, t.bias, y, t.strides, t.dilations, t.pad_begin,
                t.pad_end, t.attr, true);
#else
  // It must live as long as next_impl() may be called.
  const dnnl::convolution_forward::desc operation(inference, kind, x, w, t.bias, y, t.strides,
                                                  t.dilations, t.pad_begin, t.pad_end);
  ConvDesc conv(operation, t.attr, engine(), true);
#endif
  return !conv.get(true) || use(conv);
}

/// visit(rank, description) for every way that oneDNN offers, rank counting the implementations of
/// one request, until it returns false.
template <class Visit>
void each_way(const Terms& t, const Visit& visit) {
  const auto layouts = [&](const memory::dims& sizes, const memory::desc& own) {
    std::vector<memory::desc> list{own, f32(sizes, Tag::any)};
    if (t.nchw) list.push_back(f32(sizes, Tag::nhwc));
    return list;
  };
  const auto implementations = [&](ConvDesc& conv) {
    // The reference code takes minutes on large problems, and nothing comes after it.
    for (int rank = 0; rank < kImplementations && !std::strstr(conv.impl_info_str(), "ref");
         ++rank) {
      if (!visit(rank, conv)) return false;
      if (!conv.next_impl()) break;
    }
    return true;
  };
  for (const algorithm kind : {algorithm::convolution_direct, algorithm::convolution_winograd,
                               algorithm::convolution_auto})
    for (const memory::desc& x : layouts(t.x_sizes, t.x))
      for (const memory::desc& y : layouts(t.y_sizes, t.y))
        if (!describe(t, kind, x, y, implementations)) return;
}

// -- one way to run it --

struct Step {
  dnnl::primitive primitive;
  memory::desc scratch;
};

memory at(const memory::desc& desc, const void* address) {
  return {desc, engine(), const_cast<void*>(address)};
}

std::string layout_name(const memory::desc& desc, const memory::dims& sizes) {
  const std::pair<Tag, const char*> known[] = {{Tag::nchw, "nchw"},
                                               {Tag::nhwc, "nhwc"},
                                               {Tag::nChw4c, "nChw4c"},
                                               {Tag::nChw8c, "nChw8c"},
                                               {Tag::nChw16c, "nChw16c"}};
  for (const auto& [tag, name] : known)
    if (desc == f32(sizes, tag)) return name;
  return "a layout of its own";
}

/// A convolution, the reorders that its inner layouts need, and where they find room in the
/// workspace: inner x, inner y, one scratchpad for all.
class Way {
 public:
  Way(const Terms& t, const ConvDesc& conv)
      : name_(conv.impl_info_str()),
        own_x_(t.x),
        own_w_(t.w),
        own_y_(t.y),
        bias_(t.bias),
        x_(conv.src_desc()),
        w_(conv.weights_desc()),
        y_(conv.dst_desc()),
        convolve_{dnnl::convolution_forward(conv), conv.scratchpad_desc()},
        pack_(dnnl::reorder::primitive_desc(engine(), own_w_, engine(), w_)) {
    if (x_ != own_x_) enter_ = make_reorder(own_x_, x_);
    if (y_ != own_y_) leave_ = make_reorder(y_, own_y_);
    y_offset_ = enter_ ? padded(x_.get_size()) : 0;
    scratch_offset_ = y_offset_ + (leave_ ? padded(y_.get_size()) : 0);
    size_t scratch = convolve_.scratch.get_size();
    for (const auto& step : {enter_, leave_})
      if (step) scratch = std::max(scratch, step->scratch.get_size());
    workspace_bytes_ = scratch_offset_ + scratch;
    if (workspace_bytes_ > 0) workspace_bytes_ += kAlignment;  // the caller's may start anywhere
    words_ = name_ + ", winograd " + (name_.find("wino") != name_.npos ? "yes" : "no") + ", " +
             layout_name(x_, t.x_sizes) + " -> " + layout_name(y_, t.y_sizes);
    if (enter_ && leave_)
      words_ += " inside with reorders of x and y";
    else if (enter_ || leave_)
      words_ += std::string(" inside with a reorder of ") + (enter_ ? "x" : "y");
  }

  bool same(const ConvDesc& conv) const {
    return name_ == conv.impl_info_str() && x_ == conv.src_desc() && w_ == conv.weights_desc() &&
           y_ == conv.dst_desc();
  }

  size_t packed_bytes() const { return w_.get_size(); }
  size_t workspace_bytes() const { return workspace_bytes_; }

  void pack(const float* w, void* packed) const {
    dnnl::stream stream(engine());
    pack_.execute(stream, {{DNNL_ARG_FROM, at(own_w_, w)}, {DNNL_ARG_TO, at(w_, packed)}});
    stream.wait();
  }

  /// Memory objects and the stream belong to the call: several threads may be in here.
  void execute(const float* x, const void* packed, const float* bias, float* y,
               void* workspace) const {
    auto* base = static_cast<std::byte*>(workspace);
    if (base) base += -reinterpret_cast<std::uintptr_t>(base) % kAlignment;
    dnnl::stream stream(engine());
    const auto run = [&](const Step& step, std::unordered_map<int, memory> arguments) {
      arguments.emplace(DNNL_ARG_SCRATCHPAD, at(step.scratch, base + scratch_offset_));
      step.primitive.execute(stream, arguments);
    };
    const memory x_outer = at(own_x_, x), y_outer = at(own_y_, y);
    const memory x_inner = enter_ ? at(x_, base) : x_outer;
    const memory y_inner = leave_ ? at(y_, base + y_offset_) : y_outer;
    std::unordered_map<int, memory> operands{
        {DNNL_ARG_SRC, x_inner}, {DNNL_ARG_WEIGHTS, at(w_, packed)}, {DNNL_ARG_DST, y_inner}};
    if (bias_.get_size() > 0) operands.emplace(DNNL_ARG_BIAS, at(bias_, bias));

    if (enter_) run(*enter_, {{DNNL_ARG_FROM, x_outer}, {DNNL_ARG_TO, x_inner}});
    run(convolve_, std::move(operands));
    if (leave_) run(*leave_, {{DNNL_ARG_FROM, y_inner}, {DNNL_ARG_TO, y_outer}});
    stream.wait();
  }

  /// "brgconv:avx512_core, winograd no, nhwc -> nhwc inside with reorders of x and y".
  const std::string& words() const { return words_; }

 private:
  static size_t padded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

  static Step make_reorder(const memory::desc& from, const memory::desc& to) {
    const dnnl::reorder::primitive_desc desc(engine(), from, engine(), to,
                                             attributes(Activation::none));
    return {dnnl::reorder(desc), desc.scratchpad_desc()};
  }

  std::string name_, words_;
  memory::desc own_x_, own_w_, own_y_, bias_;
  memory::desc x_, w_, y_;  // as the convolution wants them
  Step convolve_;
  dnnl::reorder pack_;
  std::optional<Step> enter_, leave_;
  size_t y_offset_ = 0, scratch_offset_ = 0, workspace_bytes_ = 0;
};

/// Every different way that the memory allows. The first choices of each request come first: the
/// time limit cuts off the last.
std::vector<Way> find_ways(const Terms& terms, size_t memory_limit) {
  std::vector<std::pair<int, Way>> ranked;
  each_way(terms, [&](int rank, const ConvDesc& conv) {
    const auto known = [&](const auto& other) { return other.second.same(conv); };
    if (std::any_of(ranked.begin(), ranked.end(), known)) return true;
    try {
      Way way(terms, conv);
      if (way.workspace_bytes() + way.packed_bytes() < memory_limit)
        ranked.emplace_back(rank, std::move(way));
    } catch (const dnnl::error&) {  // no reorder between these layouts
    }
    return true;
  });
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Way> ways;
  for (auto& [rank, way] : ranked) ways.push_back(std::move(way));
  return ways;
}

// -- the fastest way, by measuring --

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Scratch {
 public:
  explicit Scratch(size_t bytes) : bytes_(new std::byte[bytes]) {}
  float* floats() const { return reinterpret_cast<float*>(bytes_.get()); }
  void* address() const { return bytes_.get(); }

  /// Has the pages of the first `bytes` mapped, so that no run is charged for them.
  void touch(size_t bytes) {
    for (; touched_ < bytes; touched_ += 4096) bytes_[touched_] = std::byte(0);
  }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  size_t touched_ = 0;
};

/// In (-1, 1). Values matter only in that they are neither zero nor denormal.
Scratch random_floats(size_t bytes) {
  Scratch scratch(bytes);
  std::uint32_t state = 1;
  std::generate_n(scratch.floats(), bytes / sizeof(float), [&] {
    state = state * 1664525u + 1013904223u;
    return (float(state >> 8) + 0.5f) * 0x1p-23f - 1;
  });
  return scratch;
}

class Contest {
 public:
  Contest(const Terms& terms, const std::vector<Way>& ways)
      : ways_(ways),
        x_(random_floats(terms.x.get_size())),
        w_(random_floats(terms.w.get_size())),
        bias_(random_floats(terms.bias.get_size())),
        y_(terms.y.get_size()),
        workspace_(largest_workspace(ways)) {
    y_.touch(terms.y.get_size());
  }

  /// The winner. Ways of less than a third of the best speed are dropped after their first run; the
  /// others take turns, best of 5 to 20.
  const Way& run(double seconds) {
    const auto start = Clock::now();
    for (const Way& way : ways_) {
      if (measured() > 0 && seconds_since(start) > seconds) break;
      enter(way);
    }
    drop_slower_than(3);
    for (int round = 0; round < 20 && entries_.size() > 1; ++round) {
      for (Entry& e : entries_) {
        if (seconds_since(start) + e.best > seconds) return *best().way;
        e.best = std::min(e.best, time(e));
      }
      if (round == 2) drop_slower_than(1.5);
      if (round >= 4 && seconds_since(start) > 0.3 * seconds) break;
    }
    return *best().way;
  }

  size_t measured() const { return measured_; }

 private:
  struct Entry {
    const Way* way;
    Scratch packed;
    double best;
  };

  static size_t largest_workspace(const std::vector<Way>& ways) {
    size_t bytes = 0;
    for (const Way& way : ways) bytes = std::max(bytes, way.workspace_bytes());
    return bytes;
  }

  void enter(const Way& way) {
    Entry entry{&way, Scratch(way.packed_bytes()), 0};
    way.pack(w_.floats(), entry.packed.address());
    workspace_.touch(way.workspace_bytes());
    entry.best = time(entry);
    // In a short run threads that wake up and code read for the first time count for much.
    for (int again = 0; again < 2 && entry.best < 0.02; ++again)
      entry.best = std::min(entry.best, time(entry));
    entries_.push_back(std::move(entry));
    ++measured_;
  }

  double time(const Entry& e) const {
    const auto start = Clock::now();
    e.way->execute(x_.floats(), e.packed.address(), bias_.floats(), y_.floats(),
                   workspace_.address());
    return seconds_since(start);
  }

  const Entry& best() const {
    return *std::min_element(entries_.begin(), entries_.end(),
                             [](const Entry& a, const Entry& b) { return a.best < b.best; });
  }

  void drop_slower_than(double factor) {
    const double limit = factor * best().best;
    entries_.erase(std::remove_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.best > limit; }),
                   entries_.end());
  }

  const std::vector<Way>& ways_;
  Scratch x_, w_, bias_, y_, workspace_;
  std::vector<Entry> entries_;
  size_t measured_ = 0;
};

}  // namespace

struct VendorPlan {
  Way way;
  std::string detail;
};

namespace {

// -- the C ABI --

void say(VendorMessage* message, const std::string& text) {
  std::snprintf(message->text, sizeof message->text, "%s", text.c_str());
}

/// Runs `body`, which returns a reason or nothing; exceptions become reasons.
template <class Body>
bool guarded(VendorMessage* message, const Body& body) {
  std::string reason;
  try {
    reason = body();
  } catch (const dnnl::error& e) {
    reason = std::string(e.what()) + " (" + dnnl_status2str(e.status) + ")";
  } catch (const std::bad_alloc&) {
    reason = "the memory for measuring its candidates cannot be had";
  } catch (const std::exception& e) {
    reason = e.what();
  }
  if (!reason.empty()) say(message, reason);
  return reason.empty();
}

/// oneDNN computes positions along an axis, padding included, in 32 bits.
bool positions_fit(const ConvProblem& c) {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  const auto fit = [](std::int64_t size, std::int64_t before, std::int64_t after, std::int64_t taps,
                      std::int64_t dilation) {
    return before <= most && after <= most && size <= most - before - after &&
           taps - 1 <= (most - 1) / dilation;
  };
  return c.N <= most && c.C <= most && c.K <= most &&
         fit(c.H, c.pad_top, c.pad_bottom, c.R, c.dilation_h) &&
         fit(c.W, c.pad_left, c.pad_right, c.S, c.dilation_w);
}

bool supports(const VendorRequest* request, VendorMessage* reason) {
  return guarded(reason, [&]() -> std::string {
    if (!positions_fit(request->problem)) return "oneDNN counts along an axis in 32 bits";
    bool found = false;
    each_way(Terms(*request), [&](int, const ConvDesc&) { return !(found = true); });
    return found ? "" : "oneDNN has only its slow reference code for it";
  });
}

bool plan(const VendorRequest* request, VendorPlan** out, VendorMessage* failure) {
  return guarded(failure, [&]() -> std::string {
    const Terms terms(*request);
    const std::vector<Way> ways = find_ways(terms, request->memory_limit);
    if (ways.empty()) return "no implementation fits in the memory";
    if (ways.size() == 1 || request->seconds <= 0) {
      *out = new VendorPlan{ways.front(), ways.front().words()};
      return {};
    }
    Contest contest(terms, ways);
    const Way& winner = contest.run(request->seconds);
    std::string detail = winner.words() + ", fastest of " + std::to_string(contest.measured());
    if (contest.measured() < ways.size()) detail += " measured of " + std::to_string(ways.size());
    *out = new VendorPlan{winner, detail + " candidates"};
    return {};
  });
}

void destroy(VendorPlan* plan) { delete plan; }

VendorFacts facts(const VendorPlan* plan) {
  return {plan->way.packed_bytes(), plan->way.workspace_bytes(), plan->detail.c_str()};
}

bool pack(const VendorPlan* plan, const float* w, void* packed, VendorMessage* failure) {
  return guarded(failure, [&] {
    plan->way.pack(w, packed);
    return std::string();
  });
}

bool execute(const VendorPlan* plan, const float* x, const void* packed, const float* bias,
             float* y, void* workspace, VendorMessage* failure) {
  return guarded(failure, [&] {
    plan->way.execute(x, packed, bias, y, workspace);
    return std::string();
  });
}

const char* isa_in_effect() {
  const int isa = dnnl_get_effective_cpu_isa();
  const auto has = [isa](int wanted) { return (isa & wanted) == wanted; };
  if (has(dnnl_cpu_isa_avx512_core)) return "avx512";
  if (has(dnnl_cpu_isa_avx2)) return "avx2";
  if (has(dnnl_cpu_isa_avx)) return "avx";
  return has(dnnl_cpu_isa_sse41) ? "sse4" : "";
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const VendorApi* metalconv_vendor_api(
    const char* isa) {
  // Without a cache the candidates that lose are freed; and 2.x's makes next_impl() repeat itself.
  dnnl_set_primitive_cache_capacity(0);
  // Refused after the first primitive, and where there is only one instruction set: isa_in_effect
  // tells what came of it.
  if (std::string_view(isa) == "avx2") dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
  if (std::string_view(isa) == "sse4") dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
  static const std::string version = [] {
    const dnnl_version_t& v = *dnnl_version();
    return std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch);
  }();
  static const VendorApi api{
      kVendorAbi, version.c_str(), isa_in_effect(), supports, plan, destroy, facts, pack, execute};
  return &api;
}

}  // namespace metalconv::cpu
