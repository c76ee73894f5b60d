// SPDX-License-Identifier: Apache-2.0
#include "metal_standin/graph.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>

#include "core/half.h"
#include "metal_standin/control.h"
#include "metal_standin/metal.h"

namespace metalconv::standin {

STANDIN_CLASS(ns_exception, "NSException");
STANDIN_CLASS(mps_command_buffer, "MPSCommandBuffer");
STANDIN_CLASS(mps_nd_array, "MPSNDArray");
STANDIN_CLASS(mps_nd_array_descriptor, "MPSNDArrayDescriptor");
STANDIN_CLASS(mps_graph, "MPSGraph");
STANDIN_CLASS(mps_graph_compilation_descriptor, "MPSGraphCompilationDescriptor");
STANDIN_CLASS(mps_graph_convolution, "MPSGraphConvolution2DOpDescriptor");
STANDIN_CLASS(mps_graph_depthwise, "MPSGraphDepthwiseConvolution2DOpDescriptor");
STANDIN_CLASS(mps_graph_device, "MPSGraphDevice");
STANDIN_CLASS(mps_graph_executable, "MPSGraphExecutable");
STANDIN_CLASS(mps_graph_shaped_type, "MPSGraphShapedType");
STANDIN_CLASS(mps_graph_tensor, "MPSGraphTensor");
STANDIN_CLASS(mps_graph_tensor_data, "MPSGraphTensorData");

namespace {

using Shape = std::array<Integer, 4>;
using Values = std::vector<double>;

enum DataType : unsigned { f32 = 0x10000020, f16 = 0x10000010, bf16 = 0x90000010 };
enum NamedLayout : UInteger { nchw, nhwc, oihw, hwio };

DType dtype_of(DataType type) {
  return type == f32 ? DType::f32 : type == f16 ? DType::f16 : DType::bf16;
}

Integer count(const Shape& s) { return s[0] * s[1] * s[2] * s[3]; }

Shape to_shape(const Array* array) {
  if (!array || array->items.size() != 4) raise("a shape must have rank 4");
  Shape shape;
  for (std::size_t i = 0; i < 4; ++i)
    shape[i] = Integer(dynamic_cast<Number&>(*array->items[i]).value);
  return shape;
}

// ------------------------------------------------------------------------------- tensors of a
// graph

struct TensorObject;
using Feeds = std::map<const TensorObject*, Values>;

struct TensorObject : Object {
  TensorObject(Shape of, DataType element) : Object(mps_graph_tensor), shape(of), type(element) {}
  void dispose() override { compute = nullptr; }
  Values values(const Feeds& feeds) const {
    const auto fed = feeds.find(this);
    if (fed != feeds.end()) return fed->second;
    Values result = compute(feeds);
    for (double& v : result) {  // each operation rounds to the type
      std::uint32_t element;
      from_double(dtype_of(type), v, &element, 0);
      v = to_double(dtype_of(type), &element, 0);
    }
    return result;
  }
  Shape shape;
  DataType type;
  std::function<Values(const Feeds&)> compute;
};

TensorObject* make_tensor(Shape shape, DataType type, std::function<Values(const Feeds&)> compute) {
  auto* tensor = make_autoreleased<TensorObject>(shape, type);
  tensor->compute = std::move(compute);
  return tensor;
}

/// Elementwise; sizes of 1 in `b` are repeated.
TensorObject* elementwise(TensorObject* a, TensorObject* b, double (*op)(double, double)) {
  if (a->type != b->type) raise("operands must have one data type");
  for (int i = 0; i < 4; ++i)
    if (b->shape[i] != 1 && b->shape[i] != a->shape[i]) raise("shapes are not broadcastable");
  return make_tensor(a->shape, a->type, [sa = Strong(a), sb = Strong(b), op](const Feeds& feeds) {
    Values values = sa->values(feeds);
    const Values other = sb->values(feeds);
    const Shape &s = sa->shape, &t = sb->shape;
    for (Integer i = 0; i < Integer(values.size()); ++i) {
      Integer at = 0, rest = i, stride = 1;
      for (int axis = 3; axis >= 0; --axis) {
        const Integer position = rest % s[axis];
        rest /= s[axis];
        at += (t[axis] == 1 ? 0 : position) * stride;
        stride *= t[axis];
      }
      values[i] = op(values[i], other[at]);
    }
    return values;
  });
}

// --------------------------------------------------------------------------------------
// convolution

/// Sizes by name, from a shape in memory order, and the place of an element.
struct Axes {
  Shape order;  // which axis of memory holds the first, second ... named size
  Shape shape;
  Integer size(int name) const { return shape[order[name]]; }
  Integer place(Integer a, Integer b, Integer c, Integer d) const {
    Shape at{};
    at[order[0]] = a, at[order[1]] = b, at[order[2]] = c, at[order[3]] = d;
    return ((at[0] * shape[1] + at[1]) * shape[2] + at[2]) * shape[3] + at[3];
  }
};

/// As N C H W, or as O I H W.
Axes axes(NamedLayout layout, const Shape& shape) {
  switch (layout) {
    case nchw:
    case oihw:
      return {{0, 1, 2, 3}, shape};
    case nhwc:
      return {{0, 3, 1, 2}, shape};
    case hwio:
      break;
  }
  return {{3, 2, 0, 1}, shape};
}

struct ConvolutionObject : Object {
  explicit ConvolutionObject(Class& isa) : Object(isa) {}
  UInteger stride_x, stride_y, dilation_x, dilation_y, groups, left, right, top, bottom;
  NamedLayout data, weights;
  bool depthwise;
};

Integer out_size(Integer in, UInteger before, UInteger after, UInteger dilation, Integer taps,
                 UInteger stride) {
  const Integer span = Integer(before + after) + in - Integer(dilation) * (taps - 1) - 1;
  if (span < 0) raise("the kernel is larger than the padded input");
  return span / Integer(stride) + 1;
}

Shape output_shape(const ConvolutionObject& d, const Axes& x, const Axes& w) {
  // O of a depthwise kernel counts the outputs of one input channel.
  const Integer channels = d.depthwise ? w.size(0) * w.size(1) : w.size(0);
  const Integer inputs = d.depthwise ? w.size(1) : w.size(1) * Integer(d.groups);
  if (inputs != x.size(1)) raise("the weights are for another number of input channels");
  const Integer rows = out_size(x.size(2), d.top, d.bottom, d.dilation_y, w.size(2), d.stride_y);
  const Integer columns = out_size(x.size(3), d.left, d.right, d.dilation_x, w.size(3), d.stride_x);
  return d.data == nchw ? Shape{x.size(0), channels, rows, columns}
                        : Shape{x.size(0), rows, columns, channels};
}

double convolve_one(const ConvolutionObject& d, const Axes& x, const Axes& w, const Values& xv,
                    const Values& wv, Integer n, Integer k, Integer first_channel, Integer p,
                    Integer q) {
  const Integer inputs = d.depthwise ? 1 : w.size(1);
  double sum = 0;
  for (Integer c = 0; c < inputs; ++c)
    for (Integer r = 0; r < w.size(2); ++r)
      for (Integer s = 0; s < w.size(3); ++s) {
        const Integer h = p * Integer(d.stride_y) - Integer(d.top) + r * Integer(d.dilation_y);
        const Integer v = q * Integer(d.stride_x) - Integer(d.left) + s * Integer(d.dilation_x);
        if (h < 0 || h >= x.size(2) || v < 0 || v >= x.size(3)) continue;
        const Integer weight =
            d.depthwise ? w.place(k % w.size(0), first_channel, r, s) : w.place(k, c, r, s);
        sum += xv[x.place(n, first_channel + c, h, v)] * wv[weight];
      }
  return sum;
}

Values convolve(const ConvolutionObject& d, const Axes& x, const Axes& w, const Shape& y_shape,
                const Values& xv, const Values& wv) {
  const Axes y = axes(d.data, y_shape);
  const Integer per_group = d.depthwise ? w.size(0) : y.size(1) / Integer(d.groups);
  Values result(count(y_shape));
  for (Integer n = 0; n < y.size(0); ++n)
    for (Integer k = 0; k < y.size(1); ++k)
      for (Integer p = 0; p < y.size(2); ++p)
        for (Integer q = 0; q < y.size(3); ++q)
          result[y.place(n, k, p, q)] = convolve_one(
              d, x, w, xv, wv, n, k, k / per_group * (d.depthwise ? 1 : w.size(1)), p, q);
  return result;
}

TensorObject* convolution(Object*, Selector, TensorObject* x, TensorObject* w, ConvolutionObject* d,
                          String*) {
  if (x->type != w->type) raise("source and weights must have one data type");
  const Axes xa = axes(d->data, x->shape), wa = axes(d->weights, w->shape);
  const Shape shape = output_shape(*d, xa, wa);
  return make_tensor(
      shape, x->type,
      [sx = Strong(x), sw = Strong(w), sd = Strong(d), xa, wa, shape](const Feeds& feeds) {
        return convolve(*sd, xa, wa, shape, sx->values(feeds), sw->values(feeds));
      });
}

void define_convolutions() {
  mps_graph_convolution.class_method(
      "descriptorWithStrideInX:strideInY:dilationRateInX:dilationRateInY:groups:paddingLeft:"
      "paddingRight:paddingTop:paddingBottom:paddingStyle:dataLayout:weightsLayout:",
      +[](Class* isa, Selector, UInteger stride_x, UInteger stride_y, UInteger dilation_x,
          UInteger dilation_y, UInteger groups, UInteger left, UInteger right, UInteger top,
          UInteger bottom, UInteger style, NamedLayout data, NamedLayout weights) {
        if (style != 0) report_misuse("a padding style other than explicit");
        auto* d = make_autoreleased<ConvolutionObject>(*isa);
        d->stride_x = stride_x, d->stride_y = stride_y;
        d->dilation_x = dilation_x, d->dilation_y = dilation_y, d->groups = groups;
        d->left = left, d->right = right, d->top = top, d->bottom = bottom;
        d->data = data, d->weights = weights, d->depthwise = false;
        return d;
      });
  mps_graph_depthwise.class_method(
      "descriptorWithStrideInX:strideInY:dilationRateInX:dilationRateInY:paddingLeft:"
      "paddingRight:paddingTop:paddingBottom:paddingStyle:dataLayout:weightsLayout:",
      +[](Class* isa, Selector, UInteger stride_x, UInteger stride_y, UInteger dilation_x,
          UInteger dilation_y, UInteger left, UInteger right, UInteger top, UInteger bottom,
          UInteger style, NamedLayout data, NamedLayout weights) {
        if (style != 0) report_misuse("a padding style other than explicit");
        auto* d = make_autoreleased<ConvolutionObject>(*isa);
        d->stride_x = stride_x, d->stride_y = stride_y;
        d->dilation_x = dilation_x, d->dilation_y = dilation_y, d->groups = 1;
        d->left = left, d->right = right, d->top = top, d->bottom = bottom;
        d->data = data, d->weights = weights, d->depthwise = true;
        return d;
      });
  mps_graph.method("convolution2DWithSourceTensor:weightsTensor:descriptor:name:", &convolution);
  mps_graph.method("depthwiseConvolution2DWithSourceTensor:weightsTensor:descriptor:name:",
                   &convolution);
}

// --------------------------------------------------------------------------------- other
// operations

struct GraphObject : Object {
  GraphObject() : Object(mps_graph) {}
};

template <class T>
void allocated_by(Class& c, const char* selector) {
  c.class_method(
      selector, +[](Class*, Selector) { return new T; });
}

void define_operations() {
  allocated_by<GraphObject>(mps_graph, "new");
  mps_graph.method(
      "placeholderWithShape:dataType:name:",
      +[](Object*, Selector, Array* shape, DataType type, String*) {
        return make_tensor(to_shape(shape), type, [](const Feeds&) -> Values {
          throw std::runtime_error("a placeholder was not fed");
        });
      });
  mps_graph.method(
      "constantWithScalar:dataType:", +[](Object*, Selector, double scalar, DataType type) {
        return make_tensor({1, 1, 1, 1}, type, [scalar](const Feeds&) { return Values{scalar}; });
      });
  mps_graph.method(
      "additionWithPrimaryTensor:secondaryTensor:name:",
      +[](Object*, Selector, TensorObject* a, TensorObject* b, String*) {
        return elementwise(a, b, [](double u, double v) { return u + v; });
      });
  mps_graph.method(
      "multiplicationWithPrimaryTensor:secondaryTensor:name:",
      +[](Object*, Selector, TensorObject* a, TensorObject* b, String*) {
        return elementwise(a, b, [](double u, double v) { return u * v; });
      });
  mps_graph.method(
      "reLUWithTensor:name:", +[](Object*, Selector, TensorObject* a, String*) {
        return elementwise(a, a, [](double u, double) { return std::max(u, 0.0); });
      });
  mps_graph.method(
      "sigmoidWithTensor:name:", +[](Object*, Selector, TensorObject* a, String*) {
        return elementwise(a, a, [](double u, double) { return 1 / (1 + std::exp(-u)); });
      });
  mps_graph.method(
      "clampWithTensor:minValueTensor:maxValueTensor:name:",
      +[](Object*, Selector, TensorObject* a, TensorObject* least, TensorObject* most, String*) {
        auto* above = elementwise(a, least, [](double u, double v) { return std::max(u, v); });
        return elementwise(above, most, [](double u, double v) { return std::min(u, v); });
      });
}

// -------------------------------------------------------------------------------- data and
// execution

struct ArrayDescriptorObject : Object {
  ArrayDescriptorObject(Shape of, DataType element)
      : Object(mps_nd_array_descriptor), shape(of), type(element) {}
  Shape shape;
  DataType type;
  bool packed_rows = false;
};

struct ArrayObject : Object {
  ArrayObject() : Object(mps_nd_array) {}
  void dispose() override { buffer = {}; }
  std::byte* data() const { return buffer->contents() + offset; }
  Strong<BufferObject> buffer;
  UInteger offset = 0;
  Shape shape{};
  DataType type = f32;
};

ArrayObject* init_array(ArrayObject* self, Selector, BufferObject* buffer, UInteger offset,
                        ArrayDescriptorObject* d) {
  if (!d->packed_rows) report_misuse("an MPSNDArray whose rows may be padded");
  const auto bytes = UInteger(count(d->shape)) * size_of(dtype_of(d->type));
  if (offset > buffer->length || bytes > buffer->length - offset)
    report_misuse("an MPSNDArray past the end of its buffer");
  self->buffer = Strong(buffer);
  self->offset = offset;
  self->shape = d->shape;
  self->type = d->type;
  return self;
}

struct TensorDataObject : Object {
  TensorDataObject() : Object(mps_graph_tensor_data) {}
  void dispose() override { array = {}; }
  Strong<ArrayObject> array;
};

struct ShapedTypeObject : Object {
  ShapedTypeObject() : Object(mps_graph_shaped_type) {}
  Shape shape{};
  DataType type = f32;
};

struct CompilationObject : Object {
  CompilationObject() : Object(mps_graph_compilation_descriptor) {}
  unsigned long long level = 1;
  bool waits = false;
};

struct GraphDeviceObject : Object {
  GraphDeviceObject() : Object(mps_graph_device) {}
};

struct PassedCommandBuffer : Object {
  explicit PassedCommandBuffer(CommandBufferObject* r) : Object(mps_command_buffer), root(r) {}
  void dispose() override { root = {}; }
  void commit_and_continue() {
    root->commit();
    root = Strong<CommandBufferObject>::adopt(new CommandBufferObject(*root->queue));
  }
  Strong<CommandBufferObject> root;
};

struct ExecutableObject : Object {
  ExecutableObject() : Object(mps_graph_executable) {}
  void dispose() override {
    feeds = {};
    target = {};
  }
  Strong<Array> feeds;
  Strong<TensorObject> target;
};

ExecutableObject* compile(Object*, Selector, GraphDeviceObject* device, Dictionary* feeds,
                          Array* targets, Array*, CompilationObject* descriptor) {
  if (!machine().graph_raises.empty()) raise(std::exchange(machine().graph_raises, {}));
  if (!device || descriptor->level != 0 || !descriptor->waits)
    report_misuse("a graph that is not compiled for the GPU alone, before it is used");
  auto* executable = make_autoreleased<ExecutableObject>();
  executable->feeds = Strong<Array>::adopt(new Array);
  for (const auto& [tensor, type] : feeds->items) {
    if (dynamic_cast<TensorObject&>(*tensor).shape != dynamic_cast<ShapedTypeObject&>(*type).shape)
      raise("a feed has another shape than its placeholder");
    executable->feeds->items.push_back(tensor);
  }
  // Dictionaries have no order: not the one in which the feeds were added.
  std::reverse(executable->feeds->items.begin(), executable->feeds->items.end());
  executable->target = Strong(&dynamic_cast<TensorObject&>(*targets->items.at(0)));
  return executable;
}

Values read(const ArrayObject& array) {
  Values values(count(array.shape));
  for (Integer i = 0; i < Integer(values.size()); ++i)
    values[i] = to_double(dtype_of(array.type), array.data(), i);
  return values;
}

const ArrayObject& array_of(const Strong<Object>& data, const TensorObject& tensor) {
  const ArrayObject& array = *dynamic_cast<TensorDataObject&>(*data).array;
  if (array.shape != tensor.shape || array.type != tensor.type)
    raise("tensor data has another shape or type than its tensor");
  return array;
}

Array* encode(ExecutableObject* self, Selector, PassedCommandBuffer* commands, Array* inputs,
              Array* results, Object*) {
  if (commands->root->open_encoder) report_misuse("MPSGraph encodes while an encoder is open");
  if (inputs->items.size() != self->feeds->items.size()) raise("wrong number of inputs");
  for (std::size_t i = 0; i < inputs->items.size(); ++i)
    array_of(inputs->items[i], dynamic_cast<TensorObject&>(*self->feeds->items[i]));
  array_of(results->items.at(0), *self->target);
  if (machine().graph_commits) commands->commit_and_continue();
  commands->root->work.push_back(
      [executable = Strong(self), in = Strong(inputs), out = Strong(results)] {
        Feeds feeds;
        for (std::size_t i = 0; i < in->items.size(); ++i) {
          const auto& tensor = dynamic_cast<TensorObject&>(*executable->feeds->items[i]);
          feeds[&tensor] = read(array_of(in->items[i], tensor));
        }
        const Values values = executable->target->values(feeds);
        const ArrayObject& y = array_of(out->items[0], *executable->target);
        for (Integer i = 0; i < Integer(values.size()); ++i)
          from_double(dtype_of(y.type), values[i], y.data(), i);
      });
  return results;
}

void define_data() {
  mps_nd_array_descriptor.class_method(
      "descriptorWithDataType:shape:", +[](Class*, Selector, DataType type, Array* shape) {
        return make_autoreleased<ArrayDescriptorObject>(to_shape(shape), type);
      });
  mps_nd_array_descriptor.method(
      "setPreferPackedRows:",
      +[](ArrayDescriptorObject* self, Selector, bool packed) { self->packed_rows = packed; }, 15);
  allocated_by<ArrayObject>(mps_nd_array, "alloc");
  mps_nd_array.method("initWithBuffer:offset:descriptor:", &init_array, 15);
  allocated_by<TensorDataObject>(mps_graph_tensor_data, "alloc");
  mps_graph_tensor_data.method(
      "initWithMPSNDArray:", +[](TensorDataObject* self, Selector, ArrayObject* array) {
        self->array = Strong(array);
        return self;
      });
  allocated_by<ShapedTypeObject>(mps_graph_shaped_type, "alloc");
  mps_graph_shaped_type.method(
      "initWithShape:dataType:",
      +[](ShapedTypeObject* self, Selector, Array* shape, DataType type) {
        self->shape = to_shape(shape);
        self->type = type;
        return self;
      });
}

void define_execution() {
  ns_exception.method(
      "reason", +[](ExceptionObject* self, Selector) { return self->reason.get(); });
  mps_graph_device.class_method(
      "deviceWithMTLDevice:",
      +[](Class*, Selector, DeviceObject*) { return make_autoreleased<GraphDeviceObject>(); });
  allocated_by<CompilationObject>(mps_graph_compilation_descriptor, "new");
  mps_graph_compilation_descriptor.method(
      "setOptimizationLevel:",
      +[](CompilationObject* self, Selector, unsigned long long level) { self->level = level; });
  mps_graph_compilation_descriptor.method(
      "setWaitForCompilationCompletion:",
      +[](CompilationObject* self, Selector, bool waits) { self->waits = waits; });
  mps_graph.method("compileWithDevice:feeds:targetTensors:targetOperations:compilationDescriptor:",
                   &compile);
  mps_graph_executable.method(
      "feedTensors", +[](ExecutableObject* self, Selector) { return self->feeds.get(); });
  mps_graph_executable.method("encodeToCommandBuffer:inputsArray:resultsArray:executionDescriptor:",
                              &encode);
  mps_command_buffer.class_method(
      "commandBufferWithCommandBuffer:", +[](Class*, Selector, CommandBufferObject* c) {
        return make_autoreleased<PassedCommandBuffer>(c);
      });
  mps_command_buffer.method(
      "rootCommandBuffer", +[](PassedCommandBuffer* self, Selector) { return self->root.get(); });
}

}  // namespace

ExceptionObject::ExceptionObject(const std::string& words)
    : Object(ns_exception), reason(Strong<String>::adopt(new String(words))) {}

void define_graph() {
  define_convolutions();
  define_operations();
  define_data();
  define_execution();
}

}  // namespace metalconv::standin
