// SPDX-License-Identifier: Apache-2.0
// Each plan is a compiled MPSGraph: convolution, bias, activation. Written from Apple's
// documentation; run on a stand-in for the frameworks (tests/metal_standin), not yet on an Apple
// GPU.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>
#import <MetalPerformanceShaders/MetalPerformanceShaders.h>
#import <MetalPerformanceShadersGraph/MetalPerformanceShadersGraph.h>

#include "metal/vendor.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include "metal/bounded_cache.h"
#include "metal/runtime.h"
#include "metal/vendor_pack.h"
#include "metalconv/error.h"

namespace metalconv::metal {
namespace {

constexpr std::size_t kCompiledGraphs = 64;  // that are kept for later plans

// ----------------------------------------------------------------------------- in MPSGraph's terms

MPSDataType data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return MPSDataTypeFloat32;
    case DType::f16:
      return MPSDataTypeFloat16;
    case DType::bf16:
      break;
  }
  return MPSDataTypeBFloat16;
}

using Sizes = std::array<std::int64_t, 4>;

NSArray<NSNumber*>* shape(const Sizes& s) { return @[ @(s[0]), @(s[1]), @(s[2]), @(s[3]) ]; }

bool is_nchw(const ConvProblem& p) { return p.layout == Layout::nchw; }

Sizes activation_sizes(const ConvProblem& p, std::int64_t n, std::int64_t channels,
                       std::int64_t rows, std::int64_t columns) {
  return is_nchw(p) ? Sizes{n, channels, rows, columns} : Sizes{n, rows, columns, channels};
}

WeightOrder weight_order(const ConvProblem& p) {
  return is_nchw(p) ? WeightOrder::oihw : WeightOrder::hwio;
}

/// MPSGraph has an operation for these; its O counts the outputs of one input channel.
bool is_depthwise(const ConvProblem& p) {
  return p.groups > 1 && p.C_per_group() == 1 && p.K_per_group() == 1;
}

Sizes weight_sizes(const ConvProblem& p) {
  const std::int64_t o = is_depthwise(p) ? 1 : p.K, i = is_depthwise(p) ? p.C : p.C_per_group();
  return weight_order(p) == WeightOrder::oihw ? Sizes{o, i, p.R, p.S} : Sizes{p.R, p.S, i, o};
}

MPSGraphTensorNamedDataLayout data_layout(const ConvProblem& p) {
  return is_nchw(p) ? MPSGraphTensorNamedDataLayoutNCHW : MPSGraphTensorNamedDataLayoutNHWC;
}

MPSGraphTensorNamedDataLayout weights_layout(const ConvProblem& p) {
  return weight_order(p) == WeightOrder::oihw ? MPSGraphTensorNamedDataLayoutOIHW
                                              : MPSGraphTensorNamedDataLayoutHWIO;
}

MPSGraphTensor* depthwise(MPSGraph* graph, const ConvProblem& p, MPSGraphTensor* x,
                          MPSGraphTensor* w) {
  MPSGraphDepthwiseConvolution2DOpDescriptor* descriptor =
      [MPSGraphDepthwiseConvolution2DOpDescriptor
          descriptorWithStrideInX:NSUInteger(p.stride_w)
                        strideInY:NSUInteger(p.stride_h)
                  dilationRateInX:NSUInteger(p.dilation_w)
                  dilationRateInY:NSUInteger(p.dilation_h)
                      paddingLeft:NSUInteger(p.pad_left)
                     paddingRight:NSUInteger(p.pad_right)
                       paddingTop:NSUInteger(p.pad_top)
                    paddingBottom:NSUInteger(p.pad_bottom)
                     paddingStyle:MPSGraphPaddingStyleExplicit
                       dataLayout:data_layout(p)
                    weightsLayout:weights_layout(p)];
  return [graph depthwiseConvolution2DWithSourceTensor:x
                                         weightsTensor:w
                                            descriptor:descriptor
                                                  name:nil];
}

MPSGraphTensor* grouped(MPSGraph* graph, const ConvProblem& p, MPSGraphTensor* x,
                        MPSGraphTensor* w) {
  MPSGraphConvolution2DOpDescriptor* descriptor =
      [MPSGraphConvolution2DOpDescriptor descriptorWithStrideInX:NSUInteger(p.stride_w)
                                                       strideInY:NSUInteger(p.stride_h)
                                                 dilationRateInX:NSUInteger(p.dilation_w)
                                                 dilationRateInY:NSUInteger(p.dilation_h)
                                                          groups:NSUInteger(p.groups)
                                                     paddingLeft:NSUInteger(p.pad_left)
                                                    paddingRight:NSUInteger(p.pad_right)
                                                      paddingTop:NSUInteger(p.pad_top)
                                                   paddingBottom:NSUInteger(p.pad_bottom)
                                                    paddingStyle:MPSGraphPaddingStyleExplicit
                                                      dataLayout:data_layout(p)
                                                   weightsLayout:weights_layout(p)];
  return [graph convolution2DWithSourceTensor:x weightsTensor:w descriptor:descriptor name:nil];
}

MPSGraphTensor* activate(MPSGraph* graph, const ConvProblem& p, MPSGraphTensor* y) {
  const MPSDataType type = data_type(p.dtype);
  switch (p.activation) {
    case Activation::none:
      break;
    case Activation::relu:
      return [graph reLUWithTensor:y name:nil];
    case Activation::relu6:
      return [graph clampWithTensor:y
                     minValueTensor:[graph constantWithScalar:0 dataType:type]
                     maxValueTensor:[graph constantWithScalar:6 dataType:type]
                               name:nil];
    case Activation::silu:
      return [graph multiplicationWithPrimaryTensor:y
                                    secondaryTensor:[graph sigmoidWithTensor:y name:nil]
                                               name:nil];
  }
  return y;
}

/// Runs `action`; what Apple's frameworks raise becomes an Error. Nothing is thrown through the
/// pool, which would then keep what it holds.
template <class Action>
auto translated(const ConvProblem& problem, const Action& action) {
  std::exception_ptr failure;
  @autoreleasepool {
    @try {
      try {
        return action();
      } catch (const Error&) {
        failure = std::current_exception();
      }
    } @catch (NSException* exception) {
      const char* reason = exception.reason.UTF8String;
      failure = std::make_exception_ptr(
          Error(ErrorCode::device, fmt::format("MPSGraph fails on {}: {}", to_text(problem),
                                               reason ? reason : "no reason given")));
    }
  }
  std::rethrow_exception(failure);
}

// ------------------------------------------------------------------------------------- one problem

/// A graph compiled for one problem.
class Program {
 public:
  Program(id<MTLDevice> device, const ConvProblem& problem);

  /// Enqueues the graph on `operands`: x, weights, and bias where the problem has one.
  void run(Queue& queue, const std::array<Memory, 3>& operands, const Memory& y) const;

 private:
  struct Operand {
    MPSGraphTensor* placeholder = nil;
    NSArray<NSNumber*>* shape = nil;
  };

  Operand add_operand(MPSGraph* graph, const Sizes& sizes) const;
  void compile(MPSGraph* graph, id<MTLDevice> device, MPSGraphTensor* y);
  MPSGraphTensorData* data(NSArray<NSNumber*>* sizes, const Memory& memory) const;

  ConvProblem problem_;
  std::vector<Operand> operands_;
  NSArray<NSNumber*>* y_shape_;
  MPSGraphExecutable* executable_ = nil;
  std::vector<std::size_t> order_;  // operands in the order of the executable's inputs
  mutable std::mutex encoding_;     // nothing says that an executable may be encoded twice at once
};

Program::Program(id<MTLDevice> device, const ConvProblem& problem) : problem_(problem) {
  const ConvProblem& p = problem_;
  MPSGraph* graph = [MPSGraph new];
  const Operand x = add_operand(graph, activation_sizes(p, p.N, p.C, p.H, p.W));
  const Operand w = add_operand(graph, weight_sizes(p));
  operands_ = {x, w};
  MPSGraphTensor* y = is_depthwise(p) ? depthwise(graph, p, x.placeholder, w.placeholder)
                                      : grouped(graph, p, x.placeholder, w.placeholder);
  if (p.bias) {
    const Operand bias = add_operand(graph, activation_sizes(p, 1, p.K, 1, 1));
    operands_.push_back(bias);
    y = [graph additionWithPrimaryTensor:y secondaryTensor:bias.placeholder name:nil];
  }
  y_shape_ = shape(activation_sizes(p, p.N, p.K, p.P(), p.Q()));
  compile(graph, device, activate(graph, p, y));
}

Program::Operand Program::add_operand(MPSGraph* graph, const Sizes& sizes) const {
  Operand operand;
  operand.shape = shape(sizes);
  operand.placeholder = [graph placeholderWithShape:operand.shape
                                           dataType:data_type(problem_.dtype)
                                               name:nil];
  return operand;
}

void Program::compile(MPSGraph* graph, id<MTLDevice> device, MPSGraphTensor* y) {
  NSMutableDictionary<MPSGraphTensor*, MPSGraphShapedType*>* feeds =
      [NSMutableDictionary dictionary];
  for (const Operand& operand : operands_)
    feeds[operand.placeholder] =
        [[MPSGraphShapedType alloc] initWithShape:operand.shape dataType:data_type(problem_.dtype)];
  MPSGraphCompilationDescriptor* descriptor = [MPSGraphCompilationDescriptor new];
  // The GPU alone: level 1 may place work on the Neural Engine, which GPU time does not count.
  descriptor.optimizationLevel = MPSGraphOptimizationLevel0;
  descriptor.waitForCompilationCompletion = YES;
  executable_ = [graph compileWithDevice:[MPSGraphDevice deviceWithMTLDevice:device]
                                   feeds:feeds
                           targetTensors:@[ y ]
                        targetOperations:nil
                   compilationDescriptor:descriptor];
  // A dictionary has no order: the executable says which input is which.
  NSArray<MPSGraphTensor*>* inputs = executable_.feedTensors;
  for (NSUInteger i = 0; i < inputs.count; ++i)
    for (std::size_t j = 0; j < operands_.size(); ++j)
      if (inputs[i] == operands_[j].placeholder) order_.push_back(j);
  if (order_.size() != operands_.size())
    throw Error(ErrorCode::device,
                fmt::format("MPSGraph's executable of {} takes {} inputs of "
                            "which {} are known, but must take all {}",
                            to_text(problem_), inputs.count, order_.size(), operands_.size()));
}

MPSGraphTensorData* Program::data(NSArray<NSNumber*>* sizes, const Memory& memory) const {
  MPSNDArrayDescriptor* descriptor =
      [MPSNDArrayDescriptor descriptorWithDataType:data_type(problem_.dtype) shape:sizes];
  descriptor.preferPackedRows = YES;  // dense, as our tensors are
  MPSNDArray* array = [[MPSNDArray alloc] initWithBuffer:(__bridge id<MTLBuffer>)memory.handle
                                                  offset:memory.offset
                                              descriptor:descriptor];
  return [[MPSGraphTensorData alloc] initWithMPSNDArray:array];
}

void Program::run(Queue& queue, const std::array<Memory, 3>& operands, const Memory& y) const {
  const std::lock_guard hold(encoding_);
  encode(queue, [&](void* command_buffer) -> void* {
    return translated(problem_, [&]() -> void* {
      MPSCommandBuffer* commands = [MPSCommandBuffer
          commandBufferWithCommandBuffer:(__bridge id<MTLCommandBuffer>)command_buffer];
      NSMutableArray<MPSGraphTensorData*>* inputs = [NSMutableArray array];
      for (const std::size_t i : order_) [inputs addObject:data(operands_[i].shape, operands[i])];
      [executable_ encodeToCommandBuffer:commands
                             inputsArray:inputs
                            resultsArray:@[ data(y_shape_, y) ]
                     executionDescriptor:nil];
      return (__bridge_retained void*)commands.rootCommandBuffer;
    });
  });
}

// ---------------------------------------------------------------------------------------- the rows

/// What the rows share.
struct Vendor {
  explicit Vendor(gpu::Runtime& r)
      : runtime(r), device((__bridge id<MTLDevice>)device_object(r)), programs(kCompiledGraphs) {}

  std::shared_ptr<const Program> program(const ConvProblem& problem) {
    return programs.get(to_text(problem), [&] {
      return translated(problem, [&] { return std::make_shared<const Program>(device, problem); });
    });
  }

  gpu::Runtime& runtime;
  id<MTLDevice> device;
  BoundedCache<Program> programs;
};

class GraphConv final : public PreparedConv {
 public:
  GraphConv(Vendor& vendor, const ConvProblem& problem)
      : problem_(problem), packer_(vendor.runtime, problem.dtype, weight_order(problem)) {
    if (problem.N > 0) program_ = vendor.program(problem);
  }

  std::size_t packed_bytes() const override { return std::size_t(problem_.w_bytes()); }
  bool handles_are_addresses() const override { return false; }

  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    packer_.pack(queue, problem_, w.memory, packed);
  }

  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory) const override {
    program_->run(queue, {x.memory, packed, bias.memory}, y.memory);
  }

  std::string detail() const override {
    return fmt::format("MPSGraph {}, weights {}, GPU only",
                       is_depthwise(problem_) ? "depthwise convolution" : "convolution",
                       weight_order(problem_) == WeightOrder::oihw ? "OIHW" : "HWIO");
  }

 private:
  ConvProblem problem_;
  WeightPacker packer_;
  std::shared_ptr<const Program> program_;  // none for an empty output
};

bool operands_have_offsets() {
  @autoreleasepool {
    return [NSProcessInfo.processInfo isOperatingSystemAtLeastVersion:{15, 0, 0}];
  }
}

std::string refusal(const ConvProblem& p) {
  if (!operands_have_offsets())
    return "MPSGraph takes operands at an offset in a buffer from macOS 15 on";
  // Beyond these, others report silent errors or an abort of the process.
  constexpr std::int64_t kChannels = 65536, kBatch = 65535;
  constexpr std::int64_t kElements = std::numeric_limits<std::int32_t>::max();
  if (p.C > kChannels || p.K > kChannels)
    return fmt::format("MPSGraph is trusted with {} channels at most", kChannels);
  if (p.N > kBatch) return fmt::format("MPSGraph is trusted with a batch of {} at most", kBatch);
  if (p.x_elements() > kElements || p.w_elements() > kElements || p.y_elements() > kElements)
    return fmt::format("MPSGraph is trusted with tensors of {} elements at most", kElements);
  return {};
}

/// Its algorithm is not known. f32: room for Winograd F(6x6), of which 40 was measured. In 16 bits
/// convolution, bias and activation may each round to the type: 2^-11 or 2^-8, in units of 2^-24.
double error_bound(DType dtype) {
  constexpr double kSums = 64, kRoundings = 3;
  if (dtype == DType::f32) return kSums;
  return kSums + kRoundings * (dtype == DType::f16 ? 0x1p13 : 0x1p16);
}

std::string row_name(DType dtype) {
  return dtype == DType::f32 ? "mpsgraph" : fmt::format("mpsgraph_{}", to_string(dtype));
}

KernelRow row(const std::shared_ptr<Vendor>& vendor, DType dtype) {
  KernelRow row;
  row.name = row_name(dtype);
  row.implementation = Implementation::vendor;
  row.summary = "Apple's MPSGraph, one compiled graph a problem";
  row.dtypes = {dtype};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6, Activation::silu};
  row.exactness = Exactness::none;
  row.error_bound = error_bound(dtype);
  row.deterministic = false;  // not promised
  row.direct_sum = false;
  row.supports = &refusal;
  row.cost = [](const ConvProblem& p) { return p.flops() / 1e12; };  // no other row competes
  row.make = [vendor](const ConvProblem& p) { return std::make_unique<GraphConv>(*vendor, p); };
  return row;
}

}  // namespace

std::vector<KernelRow> vendor_rows(gpu::Runtime& runtime) {
  const auto vendor = std::make_shared<Vendor>(runtime);
  return {row(vendor, DType::f32), row(vendor, DType::f16), row(vendor, DType::bf16)};
}

}  // namespace metalconv::metal
