// SPDX-License-Identifier: Apache-2.0
#include "cli/conv_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "bench/files.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/wisdom_file.h"
#include "core/half.h"
#include "metalconv/error.h"
#include "metalconv/plan.h"

namespace metalconv::cli {
namespace {

using std::int64_t;
using std::size_t;
using Bytes = std::vector<std::byte>;

[[noreturn]] void fail(const std::string& sentence) {
  throw Error(ErrorCode::invalid_argument, sentence);
}

/// The numbers of "1,2" when there are as many as one of `counts`.
std::vector<int64_t> numbers(std::string_view option, const std::string& text,
                             std::initializer_list<size_t> counts) {
  std::vector<int64_t> values;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto reject = [&] {
    fail(fmt::format("{} is '{}', but must be {} whole number{} from 0 up{}", option, text,
                     fmt::join(counts, " or "), counts.size() > 1 ? "s" : "",
                     counts.size() > 1 ? ", joined by commas" : ""));
  };
  for (;;) {
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || *at == '-') reject();
    values.push_back(value);
    if (next == end) break;
    if (*next != ',') reject();
    at = next + 1;
  }
  if (std::find(counts.begin(), counts.end(), values.size()) == counts.end()) reject();
  return values;
}

/// The files that are read.
struct Operands {
  NpyFile x, w;
  std::optional<NpyFile> bias;

  explicit Operands(const ConvOptions& options) : x(options.input), w(options.weights) {
    if (!options.bias.empty()) bias.emplace(options.bias);
  }
};

void check_rank(const char* what, const NpyFile& file, size_t rank, const char* axes) {
  const Shape& shape = file.header().shape;
  if (shape.size() != rank)
    fail(fmt::format("{}: the {} has {} dimension{} ({}), but must have {}: {}", file.path(), what,
                     shape.size(), shape.size() == 1 ? "" : "s", shape_text(shape), rank, axes));
}

void check_dtype(const char* what, const NpyFile& file, const NpyFile& x) {
  if (file.header().dtype != x.header().dtype)
    fail(fmt::format("{}: the {} has dtype {}, but must have that of the input, {}", file.path(),
                     what, to_string(file.header().dtype), to_string(x.header().dtype)));
}

void set_options(const ConvOptions& options, ConvProblem* problem) {
  const auto stride = numbers("--stride", options.stride, {1, 2});
  const auto padding = numbers("--padding", options.padding, {1, 2, 4});
  const auto dilation = numbers("--dilation", options.dilation, {1, 2});
  problem->stride_h = stride.front(), problem->stride_w = stride.back();
  problem->dilation_h = dilation.front(), problem->dilation_w = dilation.back();
  problem->pad_top = padding[0];
  problem->pad_left = padding.size() > 1 ? padding[1] : padding[0];
  problem->pad_bottom = padding.size() == 4 ? padding[2] : problem->pad_top;
  problem->pad_right = padding.size() == 4 ? padding[3] : problem->pad_left;
  problem->groups = numbers("--groups", options.groups, {1})[0];
  problem->activation = parse_activation(options.activation);
  problem->layout = parse_layout(options.layout);
}

/// The problem that the files and the options make together.
ConvProblem make_problem(const ConvOptions& options, const Operands& files) {
  ConvProblem p;
  set_options(options, &p);
  const bool nchw = p.layout == Layout::nchw;
  check_rank("input", files.x, 4, nchw ? "N, C, H, W" : "N, H, W, C");
  check_rank("weights", files.w, 4, "K, C/groups, R, S");
  check_dtype("weights", files.w, files.x);
  const Shape& x = files.x.header().shape;
  const Shape& w = files.w.header().shape;
  p.N = x[0], p.C = x[nchw ? 1 : 3], p.H = x[nchw ? 2 : 1], p.W = x[nchw ? 3 : 2];
  p.K = w[0], p.R = w[2], p.S = w[3];
  p.dtype = files.x.header().dtype;
  p.bias = files.bias.has_value();
  p.validate();
  if (w[1] != p.C_per_group())
    fail(
        fmt::format("{}: the weights are {}, {} channels a group, but the input has {} channels "
                    "in {} group{}",
                    files.w.path(), shape_text(w), w[1], p.C, p.groups, p.groups == 1 ? "" : "s"));
  if (p.bias) {
    check_rank("bias", *files.bias, 1, "K");
    check_dtype("bias", *files.bias, files.x);
    const int64_t size = files.bias->header().shape[0];
    if (size != p.K)
      fail(fmt::format("{}: the bias has {} elements, but the weights make K = {} channels",
                       files.bias->path(), size, p.K));
  }
  return p;
}

/// f16 files are computed in f32 where the device has no f16 kernel for them.
ConvProblem computed_problem(Device& device, ConvProblem problem, Implementation implementation) {
  if (problem.dtype != DType::f16) return problem;
  for (const Candidate& c : explain(device, problem))
    if (c.chosen && c.row->implementation == implementation) return problem;
  problem.dtype = DType::f32;
  return problem;
}

/// Throws unless the operands and `more` bytes fit on the device and, beside them, one tensor on
/// the host: x while it is read, or y while it is written (it is copied behind its header), each
/// also in the type of the computation if that differs. Sums are doubles, which do not overflow.
void require_memory(const Device& device, const ConvProblem& stored, const ConvProblem& computed,
                    double more) {
  const bool converted = computed.dtype != stored.dtype;
  const double x = double(stored.x_bytes()) + (converted ? double(computed.x_bytes()) : 0);
  const double y = 2 * double(stored.y_bytes()) + (converted ? double(computed.y_bytes()) : 0);
  const double total = computed.min_bytes() + std::max(x, y) + more;
  const auto available = double(device.info().memory_bytes);
  if (total > available)
    throw Error(
        ErrorCode::too_large,
        fmt::format("{} needs {:.1f} MiB of memory, its input being {:.1f} MiB and its "
                    "output {:.1f} MiB, but {} has {:.1f} MiB free",
                    to_text(stored), total / 0x1p20, double(stored.x_bytes()) / 0x1p20,
                    double(stored.y_bytes()) / 0x1p20, device.info().name, available / 0x1p20));
}

Bytes convert(Bytes data, DType from, DType to) {
  if (from == to) return data;
  const auto count = int64_t(data.size() / size_of(from));
  Bytes result(size_t(count) * size_of(to));
  for (int64_t i = 0; i < count; ++i)
    from_double(to, to_double(from, data.data(), i), result.data(), i);
  return result;
}

std::unique_ptr<Buffer> upload(Device& device, NpyFile& file, DType dtype) {
  const Bytes data = convert(file.read(), file.header().dtype, dtype);
  auto buffer = device.allocate(data.size());
  if (!data.empty()) buffer->upload(data.data(), data.size());
  return buffer;
}

/// The output in the plan's dtype.
Bytes execute(Device& device, const Plan& plan, Operands& files) {
  const ConvProblem& p = plan.problem();
  const auto x = upload(device, files.x, p.dtype);
  const auto w = upload(device, files.w, p.dtype);
  const auto bias = p.bias ? upload(device, *files.bias, p.dtype) : device.allocate(0);
  const auto y = device.allocate(size_t(p.y_bytes()));
  const auto packed = device.allocate(plan.packed_bytes());
  const auto workspace = device.allocate(plan.workspace_bytes());
  const auto queue = device.make_queue();
  plan.pack(*queue, w_view(p, w->memory()), packed->memory());
  plan.execute(*queue, x_view(p, x->memory()), packed->memory(), bias_view(p, bias->memory()),
               y_view(p, y->memory()), workspace->memory());
  queue->wait();
  Bytes result(size_t(p.y_bytes()));
  if (!result.empty()) y->download(result.data(), result.size());
  return result;
}

Shape output_shape(const ConvProblem& p) {
  if (p.layout == Layout::nchw) return {p.N, p.K, p.P(), p.Q()};
  return {p.N, p.P(), p.Q(), p.K};
}

}  // namespace

std::string convolve_files(Device& device, const ConvOptions& options, const Wisdom& wisdom,
                           std::span<const Wisdom> shipped) {
  const Implementation implementation = parse_implementation(options.implementation);
  Operands files(options);
  const ConvProblem stored = make_problem(options, files);
  const ConvProblem computed = computed_problem(device, stored, implementation);
  require_memory(device, stored, computed, 0);  // before a kernel is prepared
  const Plan plan = make_plan(device, computed, {implementation, {}, &wisdom, shipped});
  require_memory(device, stored, computed,
                 double(plan.packed_bytes()) + double(plan.workspace_bytes()));

  const Bytes y = convert(execute(device, plan, files), computed.dtype, stored.dtype);
  const Shape shape = output_shape(stored);
  write_npy(options.output, stored.dtype, shape, y);
  return fmt::format("{}: {} kernel {} on {} ({}{}), wrote {} {} to {}", to_text(stored),
                     options.implementation, plan.kernel(), device.info().name, plan.detail(),
                     computed.dtype == stored.dtype ? "" : ", computed in f32",
                     to_string(stored.dtype), shape_text(shape), options.output);
}

void add_conv_command(CLI::App& app) {
  struct Options {
    ConvOptions conv;
    std::string device = "auto";
    CpuOptions cpu;
    WisdomFile wisdom;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("conv", "one convolution on NumPy files");
  const auto option = [&](const char* name, std::string& value, const char* type,
                          const char* help) {
    return command->add_option(name, value, help)->type_name(type);
  };
  option("--input", o->conv.input, "FILE", "x, four dimensions in the order of --layout")
      ->required();
  option("--weights", o->conv.weights, "FILE", "w, always K, C/groups, R, S")->required();
  option("--bias", o->conv.bias, "FILE", "K numbers (default: no bias)");
  option("--output", o->conv.output, "FILE", "y; may be one of the inputs")->required();
  option("--stride", o->conv.stride, "SH,SW", "1 or 2 numbers (default: 1)");
  option("--padding", o->conv.padding, "TOP,LEFT,BOTTOM,RIGHT",
         "4 numbers, 2 (vertical, horizontal) or 1 (default: 0)");
  option("--dilation", o->conv.dilation, "DH,DW", "1 or 2 numbers (default: 1)");
  option("--groups", o->conv.groups, "G", "must divide C and K (default: 1)");
  option("--activation", o->conv.activation, "NAME", "none, relu, relu6, silu (default: none)");
  option("--layout", o->conv.layout, "NAME", "of x and y: nchw, nhwc (default: nchw)");
  option("--implementation", o->conv.implementation, "NAME",
         "basic, optimized, vendor (default: optimized)");
  option("--device", o->device, "NAME", "default: the best one here");
  add_cpu_options(*command, o->cpu);
  o->wisdom.add_to(*command);
  command->footer(
      "Files are .npy, float32 or float16, little-endian, C order; y gets the dtype of x.\n"
      "Sums are taken in f32. A device without an f16 kernel computes float16 files in f32\n"
      "and rounds y once, which is the same.");
  command->callback([o] {
    fmt::print("{}\n", convolve_files(*open_device(o->device, o->cpu), o->conv, o->wisdom.read(),
                                      o->wisdom.shipped()));
  });
}

}  // namespace metalconv::cli
