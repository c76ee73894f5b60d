// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads.h"

#include <fmt/format.h>

#include <algorithm>

#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using std::int64_t;

/// A square kernel with "same" padding for stride 1.
ConvProblem square(int64_t n, int64_t c, int64_t h, int64_t w, int64_t k, int64_t kernel,
                   int64_t stride = 1, int64_t groups = 1) {
  ConvProblem p;
  p.N = n, p.C = c, p.H = h, p.W = w, p.K = k, p.R = p.S = kernel, p.groups = groups;
  p.stride_h = p.stride_w = stride;
  p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = (kernel - 1) / 2;
  return p;
}

Workload baseline() {
  return {"baseline",
          "the published benchmark: 3 -> 64 channels, 3x3, at three resolutions",
          {{"800x600", square(1, 3, 600, 800, 64, 3)},
           {"1024x768", square(1, 3, 768, 1024, 64, 3)},
           {"1920x1080", square(1, 3, 1080, 1920, 64, 3)}}};
}

Workload kernel_sizes() {
  Workload w{"kernel-sizes", "kernels of 1 to 11, 3 -> 64 channels at 1024x768", {}};
  for (int64_t kernel : {1, 3, 5, 7, 11})
    w.cases.push_back({fmt::format("{0}x{0}", kernel), square(1, 3, 768, 1024, 64, kernel)});
  return w;
}

Workload channels() {
  Workload w{"channels", "3x3, C -> C channels from 16 to 512, maps shrinking with C", {}};
  const std::pair<int64_t, int64_t> steps[] = {{16, 256},  {32, 256}, {64, 256},
                                               {128, 256}, {256, 64}, {512, 32}};
  for (auto [c, size] : steps)
    w.cases.push_back({fmt::format("c{}", c), square(1, c, size, size, c, 3)});
  return w;
}

Workload batches() {
  Workload w{"batches", "3x3, 64 -> 64 channels at 56x56, batches of 1 to 64", {}};
  for (int64_t n : {1, 2, 4, 8, 16, 32, 64})
    w.cases.push_back({fmt::format("n{}", n), square(n, 64, 56, 56, 64, 3)});
  return w;
}

/// The distinct convolutions of ResNet-50 at batch 1 (He et al. 2015, stride on the 3x3 as in
/// version 1.5), each with the bias and ReLU that inference folds into it.
Workload resnet50() {
  Workload w{"resnet50", "the distinct convolutions of ResNet-50 v1.5, batch 1, bias and ReLU", {}};
  const auto add = [&](std::string name, ConvProblem p, Activation activation = Activation::relu) {
    p.bias = true;
    p.activation = activation;
    w.cases.push_back({std::move(name), p});
  };
  add("stem", square(1, 3, 224, 224, 64, 7, 2));
  int64_t in = 64, size = 56;
  for (int stage = 2; stage <= 5; ++stage) {
    const int64_t width = int64_t(64) << (stage - 2), out = 4 * width;
    const int64_t stride = stage == 2 ? 1 : 2;
    const std::string s = fmt::format("conv{}", stage);
    add(s + ".reduce1", square(1, in, size, size, width, 1));
    add(s + ".3x3first", square(1, width, size, size, width, 3, stride));
    add(s + ".shortcut", square(1, in, size, size, out, 1, stride), Activation::none);
    size /= stride;
    add(s + ".expand", square(1, width, size, size, out, 1), Activation::none);
    add(s + ".reduce", square(1, out, size, size, width, 1));
    if (stage > 2) add(s + ".3x3", square(1, width, size, size, width, 3));
    in = out;
  }
  return w;
}

/// The distinct convolutions of MobileNetV2 1.0 at batch 1 (Sandler et al. 2018, table 2).
Workload mobilenet_v2() {
  Workload w{
      "mobilenet-v2", "the distinct convolutions of MobileNetV2, batch 1, bias and ReLU6", {}};
  const auto add = [&](std::string name, ConvProblem p, Activation activation) {
    p.bias = true;
    p.activation = activation;
    const auto same = [&](const Case& c) { return c.problem == p; };
    if (std::none_of(w.cases.begin(), w.cases.end(), same)) w.cases.push_back({std::move(name), p});
  };
  add("stem", square(1, 3, 224, 224, 32, 3, 2), Activation::relu6);
  struct Stage {
    int64_t expansion, out, repeats, stride;
  };
  const Stage stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                          {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  int64_t in = 32, size = 112;
  int stage_number = 0;
  for (const Stage& stage : stages) {
    ++stage_number;
    for (int64_t i = 0; i < stage.repeats; ++i) {
      const int64_t stride = i == 0 ? stage.stride : 1, hidden = in * stage.expansion;
      const std::string name = fmt::format("b{}.{}", stage_number, i + 1);
      if (stage.expansion > 1)
        add(name + ".expand", square(1, in, size, size, hidden, 1), Activation::relu6);
      add(name + ".dw", square(1, hidden, size, size, hidden, 3, stride, hidden),
          Activation::relu6);
      size /= stride;
      add(name + ".project", square(1, hidden, size, size, stage.out, 1), Activation::none);
      in = stage.out;
    }
  }
  add("head", square(1, 320, 7, 7, 1280, 1), Activation::relu6);
  return w;
}

/// Every class of convolution that a GPU library meets, in sizes that fill one.
Workload gpu_classes() {
  Workload w{"gpu-classes", "one or more of each class that a GPU library meets", {}};
  const auto add = [&](std::string name, ConvProblem p) {
    w.cases.push_back({std::move(name), p});
  };
  for (const Case& c : baseline().cases) add(c.name, c.problem);
  for (int64_t kernel : {1, 5, 7, 11})
    add(fmt::format("{0}x{0}", kernel), square(1, 3, 768, 1024, 64, kernel));
  for (const Case& c : channels().cases) add(c.name, c.problem);
  add("b16-c64", square(16, 64, 56, 56, 64, 3));
  for (auto [c, size] : {std::pair{64, 56}, {128, 28}, {256, 14}, {512, 7}})
    add(fmt::format("b64-c{}", c), square(64, c, size, size, c, 3));
  add("stem", square(32, 3, 224, 224, 64, 7, 2));
  add("expand", square(32, 64, 56, 56, 256, 1));
  add("reduce", square(32, 256, 56, 56, 64, 1));
  add("shortcut", square(32, 512, 28, 28, 1024, 1, 2));
  add("dw3x3", square(32, 32, 112, 112, 32, 3, 1, 32));
  add("dw3x3-s2", square(32, 144, 56, 56, 144, 3, 2, 144));
  add("dw5x5", square(32, 960, 7, 7, 960, 5, 1, 960));
  ConvProblem dilated = square(8, 64, 128, 128, 64, 3);
  dilated.dilation_h = dilated.dilation_w = 2;
  dilated.pad_top = dilated.pad_left = dilated.pad_bottom = dilated.pad_right = 2;
  add("dilated", dilated);
  add("groups", square(32, 128, 56, 56, 128, 3, 1, 4));
  add("unet", square(1, 64, 572, 572, 64, 3));
  add("diffusion", square(2, 320, 64, 64, 320, 3));
  add("decoder", square(1, 128, 512, 512, 128, 3));
  return w;
}

/// Every class of convolution that a CPU library meets, each with a bias, as inference has it.
Workload cpu_classes() {
  Workload w{"cpu-classes", "one or more of each class that a CPU library meets, with bias", {}};
  const auto add = [&](std::string name, ConvProblem p) {
    p.bias = true;
    w.cases.push_back({std::move(name), p});
  };
  const auto same = [&](std::string name, int64_t c, int64_t size, int64_t groups = 1) {
    add(std::move(name), square(1, c, size, size, c, 3, 1, groups));
  };
  for (const Case& c : baseline().cases) add(c.name, c.problem);
  for (int64_t kernel : {1, 5, 7, 11})
    add(fmt::format("{0}x{0}", kernel), square(1, 3, 768, 1024, 64, kernel));
  for (const Case& c : channels().cases) add(c.name, c.problem);
  for (int64_t n : {4, 16}) add(fmt::format("n{}", n), square(n, 64, 56, 56, 64, 3));
  add("stem", square(1, 3, 224, 224, 64, 7, 2));
  add("expand", square(1, 64, 56, 56, 256, 1));
  add("reduce", square(1, 256, 56, 56, 64, 1));
  same("c128-28x28", 128, 28);
  same("c256-14x14", 256, 14);
  same("c512-7x7", 512, 7);
  add("shortcut", square(1, 512, 28, 28, 1024, 1, 2));
  same("dw3x3", 32, 112, 32);
  add("dw3x3-s2", square(1, 144, 56, 56, 144, 3, 2, 144));
  add("dw5x5", square(1, 960, 7, 7, 960, 5, 1, 960));
  ConvProblem dilated = square(1, 64, 128, 128, 64, 3);
  dilated.dilation_h = dilated.dilation_w = 2;
  dilated.pad_top = dilated.pad_left = dilated.pad_bottom = dilated.pad_right = 2;
  add("dilated", dilated);
  same("groups", 128, 56, 4);
  return w;
}

/// Small problems that hold the mistakes kernels make: tails, unequal strides, dilations,
/// asymmetric padding, groups, kernels larger than the map, one row or column, an empty batch.
Workload verification() {
  Workload w{
      "verification", "small problems with tails, strides, dilations, padding and groups", {}};
  for (const char* text :
       {"1x3x24x40,k64,3x3,p1", "2x3x17x19,k13,3x3,s2x1,p1x0",
        "1x4x23x31,k7,5x3,s1x2,p0x1x2x3,bias,relu", "1x1x9x65,k1,1x1",
        "2x5x11x13,k10,3x3,p2,d2,g5,relu6,bias", "1x16x14x14,k32,3x3,p1", "1x33x7x7,k35,1x1,bias",
        "3x12x10x9,k12,3x3,p1,g12", "1x8x28x27,k16,5x5,s3,p2,d1x2,g2", "1x2x3x3,k4,7x7,p3",
        "1x24x1x50,k8,1x5,p0x2", "1x6x50x1,k9,5x1,p2x0,relu", "2x64x13x15,k67,3x3,p1,bias",
        "1x3x40x37,k16,11x11,s4,p2", "0x3x8x8,k4,3x3,p1", "1x20x9x9,k40,3x3,s2,p1,g20"})
    w.cases.push_back({text, parse_problem(text)});
  for (Case c : std::vector<Case>(w.cases)) {
    c.name += ",nhwc";
    c.problem.layout = Layout::nhwc;
    w.cases.push_back(std::move(c));
  }
  return w;
}

/// What overflows indexes: tensors beyond 2^31 elements and 4 GiB, and axes beyond 2^16. Each has
/// kernels for it on a GPU; which fits which machine is seen when it runs.
Workload large() {
  Workload w{
      "large", "indexes beyond 31 bits, buffers beyond 4 GiB, axes beyond 2^16; up to 26 GiB", {}};
  for (const auto& [name, text] : {std::pair{"y", "1x3x5800x5800,k64,3x3,p1"},
                                   {"y,f16,nhwc", "1x3x5800x5800,k64,3x3,p1,f16,nhwc"},
                                   {"x", "1x64x5800x5800,k40,3x3,s8,p1"},
                                   {"x,bf16,nhwc", "1x64x5800x5800,k40,3x3,s8,p1,bf16,nhwc"},
                                   {"x,y,depthwise", "1x64x5800x5800,k64,3x3,p1,g64,f16"},
                                   {"w", "1x33000x2x2,k65600,1x1"},
                                   {"n", "70000x1x2x2,k36,3x3,p1"},
                                   {"n,nhwc", "70000x1x2x2,k36,3x3,p1,nhwc"},
                                   {"c", "1x70000x4x4,k40,1x1"},
                                   {"k", "1x4x6x6,k70000,3x3,p1"},
                                   {"k,nhwc", "1x4x6x6,k70000,3x3,p1,nhwc"},
                                   {"g", "1x70000x4x4,k70000,3x3,p1,g70000"}})
    w.cases.push_back({name, parse_problem(text)});
  return w;
}

/// Replace one field by each of an axis's values.
template <class T, class Set>
void multiply(std::vector<Case>* cases, const std::vector<T>& axis, const Set& set) {
  if (axis.empty()) return;
  std::vector<Case> product;
  for (const Case& c : *cases)
    for (const T& value : axis) {
      Case copy = c;
      copy.name += "," + set(&copy.problem, value);
      product.push_back(std::move(copy));
    }
  *cases = std::move(product);
}

/// A new square kernel. "Same" padding stays so; any other is kept as it is.
std::string set_kernel(ConvProblem* p, int64_t kernel) {
  const auto half = [](int64_t taps, int64_t dilation) { return dilation * (taps - 1) / 2; };
  const bool same = p->pad_top == half(p->R, p->dilation_h) && p->pad_bottom == p->pad_top &&
                    p->pad_left == half(p->S, p->dilation_w) && p->pad_right == p->pad_left;
  p->R = p->S = kernel;
  if (same) {
    p->pad_top = p->pad_bottom = half(kernel, p->dilation_h);
    p->pad_left = p->pad_right = half(kernel, p->dilation_w);
  }
  return fmt::format("{0}x{0}", kernel);
}

}  // namespace

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all{
      baseline(),     kernel_sizes(), channels(),    batches(),      resnet50(),
      mobilenet_v2(), cpu_classes(),  gpu_classes(), verification(), large()};
  return all;
}

const Workload* find_workload(std::string_view name) {
  for (const Workload& w : workloads())
    if (w.name == name) return &w;
  return nullptr;
}

Workload select(const std::vector<std::string>& targets, const Axes& axes) {
  Workload selected;
  for (const std::string& target : targets) {
    if (const Workload* w = find_workload(target)) {
      selected.name += (selected.name.empty() ? "" : "+") + w->name;
      selected.summary += (selected.summary.empty() ? "" : "; ") + w->summary;
      selected.cases.insert(selected.cases.end(), w->cases.begin(), w->cases.end());
      continue;
    }
    if (target.find(',') == std::string::npos) {
      std::string known;
      for (const Workload& w : workloads()) known += (known.empty() ? "" : ", ") + w.name;
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("'{}' is neither a workload ({}) nor a problem text like "
                              "1x3x600x800,k64,3x3,p1",
                              target, known));
    }
    const ConvProblem p = parse_problem(target);
    selected.cases.push_back({"", p});  // named by its text below, when the axes are in
  }
  if (selected.name.empty()) selected.name = "custom";
  auto& cases = selected.cases;
  multiply(&cases, axes.batch,
           [](ConvProblem* p, int64_t v) { return p->N = v, fmt::format("n{}", v); });
  multiply(&cases, axes.channels,
           [](ConvProblem* p, int64_t v) { return p->C = v, fmt::format("c{}", v); });
  multiply(&cases, axes.outputs,
           [](ConvProblem* p, int64_t v) { return p->K = v, fmt::format("k{}", v); });
  multiply(&cases, axes.kernel, set_kernel);
  multiply(&cases, axes.layout,
           [](ConvProblem* p, Layout v) { return p->layout = v, std::string(to_string(v)); });
  multiply(&cases, axes.dtype,
           [](ConvProblem* p, DType v) { return p->dtype = v, std::string(to_string(v)); });
  multiply(&cases, axes.precision,
           [](ConvProblem* p, Precision v) { return p->precision = v, std::string(to_string(v)); });
  // Halves have no tf32: in a list of precisions it is for f32 alone.
  if (axes.precision.size() > 1)
    std::erase_if(cases, [](const Case& c) {
      return c.problem.precision == Precision::tf32 && c.problem.dtype != DType::f32;
    });
  for (Case& c : cases) {
    c.problem.validate();
    if (c.name.empty() || c.name.front() == ',') c.name = to_text(c.problem);
  }
  return selected;
}

}  // namespace metalconv::bench
