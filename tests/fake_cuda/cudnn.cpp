// SPDX-License-Identifier: Apache-2.0
// The fake libcudnn.so.9: graphs of convolutions and pointwise operations, interpreted in double on
// host memory, by engines of known merits.
#include "cuda/cudnn.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>

#include "core/half.h"
#include "fake_cuda.h"

namespace metalconv::fake_cuda {
namespace {

using namespace cuda::cudnn;  // NOLINT(google-build-using-namespace): its numbers

constexpr int kBadParameter = 2000, kNotSupported = 3000, kExecutionFailed = 5000;

struct Object;
using Shared = std::shared_ptr<Object>;

/// What was set, by attribute: bytes, or other objects, which are shared as in the real library.
struct Object {
  DescriptorType type{};
  std::map<Attribute, std::vector<char>> values;
  std::map<Attribute, std::vector<Shared>> objects;

  const Object& object(Attribute a) const { return *objects.at(a).at(0); }
  template <class T>
  T value(Attribute a, std::size_t i = 0) const {
    T v{};
    const auto found = values.find(a);
    if (found != values.end()) std::memcpy(&v, found->second.data() + i * sizeof(T), sizeof(T));
    return v;
  }
};

Shared& shared(RawDescriptor raw) { return *static_cast<Shared*>(raw); }

// ---- engines ----

/// Milliseconds in NCHW and NHWC; what is wrong with it.
struct Engine {
  double nchw, nhwc;
  bool refuses = false, zeros = false, fails = false, matrix_units = false, greedy = false;
};
const std::vector<Engine>& engines() {
  static const std::vector<Engine> all{
      {.nchw = 4, .nhwc = 3},
      {.nchw = 1, .nhwc = 0.5},
      {.nchw = 0.1, .nhwc = 0.1, .zeros = true},
      {.nchw = 0.1, .nhwc = 0.1, .refuses = true},
      {.nchw = 0.1, .nhwc = 0.1, .fails = true},
      {.nchw = 0.25, .nhwc = 0.25, .matrix_units = true},
      {.nchw = 0.1, .nhwc = 0.1, .greedy = true},
  };
  return all;
}
constexpr double kEpilogueMilliseconds = 0.2, kConversionMilliseconds = 0.1;

const std::vector<Shared>& operations(const Object& graph) {
  return graph.objects.at(Attribute::graph_operations);
}
bool convolves(const Object& operation) {
  return operation.type == DescriptorType::convolution_forward_operation;
}
bool is_swish(const Object& operation) {
  return !convolves(operation) &&
         operation.object(Attribute::pointwise_operation_descriptor)
                 .value<PointwiseMode>(Attribute::pointwise_mode) == PointwiseMode::swish;
}

/// None takes a convolution with a swish behind it; the first alone takes pointwise operations.
bool takes(std::int64_t engine, const Object& graph) {
  const auto& all = operations(graph);
  if (!convolves(*all.front())) return engine == 0;
  return !engines()[std::size_t(engine)].refuses && !is_swish(*all.back());
}

// ---- execution ----

class Tensor {
 public:
  explicit Tensor(const Object& t) {
    for (std::size_t i = 0; i < 4; ++i) {
      sizes[i] = t.value<std::int64_t>(Attribute::tensor_sizes, i);
      strides[i] = t.value<std::int64_t>(Attribute::tensor_strides, i);
    }
    id = t.value<std::int64_t>(Attribute::tensor_id);
    const auto type = t.value<DataType>(Attribute::tensor_data_type);
    dtype = type == DataType::f32 ? DType::f32 : type == DataType::f16 ? DType::f16 : DType::bf16;
    is_virtual = t.value<bool>(Attribute::tensor_is_virtual);
  }
  std::int64_t at(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) const {
    return n * strides[0] + c * strides[1] + h * strides[2] + w * strides[3];
  }
  std::int64_t elements() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }

  std::array<std::int64_t, 4> sizes{}, strides{};
  std::int64_t id = 0;
  DType dtype = DType::f32;
  bool is_virtual = false;
};

template <class Body>
void for_each(const Tensor& t, const Body& body) {
  for (std::int64_t n = 0; n < t.sizes[0]; ++n)
    for (std::int64_t c = 0; c < t.sizes[1]; ++c)
      for (std::int64_t h = 0; h < t.sizes[2]; ++h)
        for (std::int64_t w = 0; w < t.sizes[3]; ++w) body(n, c, h, w);
}

/// One execution of a graph on the addresses of its variant pack.
class Interpreter {
 public:
  Interpreter(std::map<std::int64_t, void*> addresses, bool zeros)
      : addresses_(std::move(addresses)), zeros_(zeros) {}

  void run(const Object& graph) {
    for (const Shared& operation : operations(graph))
      convolves(*operation) ? convolve(*operation) : pointwise(*operation);
  }

 private:
  double load(const Tensor& t, std::int64_t element) {
    return t.is_virtual ? virtual_[t.id][std::size_t(element)]
                        : to_double(t.dtype, addresses_.at(t.id), element);
  }
  void store(const Tensor& t, std::int64_t element, double value) {
    if (zeros_) value = 0;
    if (t.is_virtual) {
      virtual_[t.id].resize(std::size_t(t.elements()));
      virtual_[t.id][std::size_t(element)] = value;
    } else {
      from_double(t.dtype, value, addresses_.at(t.id), element);
    }
  }

  void convolve(const Object& operation) {
    const Tensor x(operation.object(Attribute::forward_x)),
        w(operation.object(Attribute::forward_w)), y(operation.object(Attribute::forward_y));
    const Object& c = operation.object(Attribute::forward_convolution);
    const auto number = [&](Attribute a, std::size_t i) { return c.value<std::int64_t>(a, i); };
    Tensor filter = w;
    filter.sizes[0] = 1;
    const std::int64_t group = y.sizes[1] / (x.sizes[1] / w.sizes[1]);
    for_each(y, [&](auto n, auto k, auto p, auto q) {
      double sum = 0;
      for_each(filter, [&](auto, auto channel, auto r, auto s) {
        const auto h = p * number(Attribute::convolution_strides, 0) -
                       number(Attribute::convolution_pre_paddings, 0) +
                       r * number(Attribute::convolution_dilations, 0);
        const auto v = q * number(Attribute::convolution_strides, 1) -
                       number(Attribute::convolution_pre_paddings, 1) +
                       s * number(Attribute::convolution_dilations, 1);
        if (h < 0 || v < 0 || h >= x.sizes[2] || v >= x.sizes[3]) return;
        sum += load(x, x.at(n, k / group * w.sizes[1] + channel, h, v)) *
               load(w, w.at(k, channel, r, s));
      });
      store(y, y.at(n, k, p, q), sum);
    });
  }

  void pointwise(const Object& operation) {
    const Object& function = operation.object(Attribute::pointwise_operation_descriptor);
    const auto mode = function.value<PointwiseMode>(Attribute::pointwise_mode);
    const Tensor x(operation.object(Attribute::pointwise_operation_x)),
        y(operation.object(Attribute::pointwise_operation_y));
    const Tensor b(mode == PointwiseMode::add ? operation.object(Attribute::pointwise_operation_b)
                                              : operation.object(Attribute::pointwise_operation_x));
    const bool clips = function.values.count(Attribute::pointwise_upper_clip) > 0;
    for_each(y, [&](auto n, auto c, auto h, auto w) {
      double value = load(x, x.at(n, c, h, w));
      if (mode == PointwiseMode::add) value += load(b, b.at(0, c, 0, 0));
      if (mode == PointwiseMode::relu) value = std::max(value, 0.0);
      if (mode == PointwiseMode::swish)
        value /= 1 + std::exp(-value * function.value<double>(Attribute::pointwise_swish_beta));
      if (clips) value = std::min(value, function.value<double>(Attribute::pointwise_upper_clip));
      store(y, y.at(n, c, h, w), value);
    });
  }

  std::map<std::int64_t, void*> addresses_;
  bool zeros_;
  std::map<std::int64_t, std::vector<double>> virtual_;
};

struct Handle {
  void* stream = nullptr;
};

void enqueue(const Handle& handle, const std::function<void()>& work, double milliseconds) {
  void* driver = dlopen(METALCONV_FAKE_CUDA "/libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  auto* call = reinterpret_cast<EnqueueFunction*>(dlsym(driver, "fake_cuda_enqueue"));
  call(handle.stream, work, milliseconds * 1e-3);
}

/// cudnnTensorDescriptor_t
struct PlainTensor {
  DType dtype;
  std::array<int, 4> sizes, strides;
};

Shared make_config(const Object& engine) {
  auto config = std::make_shared<Object>();
  config->type = DescriptorType::engine_config;
  config->objects[Attribute::config_engine] = {std::make_shared<Object>(engine)};
  return config;
}

/// Mode a suggests the first engine, the others nothing.
std::vector<Shared> heuristics_results(const Object& heuristics) {
  if (heuristics.value<HeuristicMode>(Attribute::heuristics_mode) != HeuristicMode::a) return {};
  Object engine;
  engine.type = DescriptorType::engine;
  engine.objects[Attribute::engine_graph] = heuristics.objects.at(Attribute::heuristics_graph);
  engine.values[Attribute::engine_index] = std::vector<char>(sizeof(std::int64_t), 0);
  if (!takes(0, engine.object(Attribute::engine_graph))) return {};
  return {make_config(engine)};
}

/// The attributes that are not what was set.
std::vector<char> computed(const Object& o, Attribute attribute) {
  const auto bytes = [](auto value) {
    std::vector<char> out(sizeof(value));
    std::memcpy(out.data(), &value, sizeof(value));
    return out;
  };
  if (attribute == Attribute::graph_engine_count) return bytes(std::int64_t(engines().size()));
  if (attribute == Attribute::engine_notes) {
    const auto& engine = engines()[std::size_t(o.value<std::int64_t>(Attribute::engine_index))];
    return engine.matrix_units ? bytes(NumericalNote::tensor_core) : std::vector<char>();
  }
  if (attribute == Attribute::plan_workspace_bytes) {
    const Object& engine = o.object(Attribute::plan_config).object(Attribute::config_engine);
    const bool greedy =
        engines()[std::size_t(engine.value<std::int64_t>(Attribute::engine_index))].greedy;
    return bytes(greedy ? std::int64_t(1) << 40 : std::int64_t(100));
  }
  const auto found = o.values.find(attribute);
  return found == o.values.end() ? std::vector<char>() : found->second;
}

std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::handle:
    case ElementType::int64:
    case ElementType::float64:
    case ElementType::pointer:
      return 8;
    case ElementType::boolean:
    case ElementType::character:
      return 1;
    default:
      return 4;
  }
}

int execute(const Handle& handle, const Object& plan, const Object& pack) {
  const Object& engine = plan.object(Attribute::plan_config).object(Attribute::config_engine);
  const Shared graph = engine.objects.at(Attribute::engine_graph).at(0);
  const Engine& merits =
      engines()[std::size_t(engine.value<std::int64_t>(Attribute::engine_index))];
  if (merits.fails) return kExecutionFailed;
  if (!pack.value<void*>(Attribute::pack_workspace)) return kBadParameter;
  std::map<std::int64_t, void*> addresses;
  const std::size_t count = pack.values.at(Attribute::pack_ids).size() / sizeof(std::int64_t);
  for (std::size_t i = 0; i < count; ++i)
    addresses[pack.value<std::int64_t>(Attribute::pack_ids, i)] =
        pack.value<void*>(Attribute::pack_pointers, i);
  const Object& first = *operations(*graph).front();
  const Tensor x(
      first.object(convolves(first) ? Attribute::forward_x : Attribute::pointwise_operation_x));
  const double milliseconds = !convolves(first)   ? kEpilogueMilliseconds
                              : x.strides[1] == 1 ? merits.nhwc
                                                  : merits.nchw;
  const auto run = [graph, addresses, zeros = merits.zeros] {
    Interpreter(addresses, zeros).run(*graph);
  };
  enqueue(handle, run, milliseconds);
  return 0;
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() { return 90100; }
const char* cudnnGetErrorString(int status) {
  return status == kNotSupported ? "CUDNN_STATUS_NOT_SUPPORTED" : "CUDNN_STATUS_FAKE";
}
void cudnnGetLastErrorString(char* message, std::size_t size) {
  std::strncpy(message, "says the stand-in", size);
}
int cudnnCreate(void** handle) {
  *handle = new Handle;
  return 0;
}
int cudnnDestroy(void* handle) {
  delete static_cast<Handle*>(handle);
  return 0;
}
int cudnnSetStream(void* handle, void* stream) {
  static_cast<Handle*>(handle)->stream = stream;
  return 0;
}

int cudnnBackendCreateDescriptor(DescriptorType type, void** out) {
  auto object = std::make_shared<Object>();
  object->type = type;
  *out = new Shared(std::move(object));
  return 0;
}
int cudnnBackendDestroyDescriptor(void* raw) {
  delete static_cast<Shared*>(raw);
  return 0;
}
int cudnnBackendSetAttribute(void* raw, Attribute attribute, ElementType type, std::int64_t count,
                             const void* from) {
  Object& o = *shared(raw);
  if (type == ElementType::descriptor) {
    o.objects[attribute].clear();
    for (std::int64_t i = 0; i < count; ++i)
      o.objects[attribute].push_back(shared(static_cast<void* const*>(from)[i]));
    return 0;
  }
  const auto* bytes = static_cast<const char*>(from);
  o.values[attribute].assign(bytes, bytes + std::size_t(count) * size_of(type));
  return 0;
}
int cudnnBackendGetAttribute(void* raw, Attribute attribute, ElementType type, std::int64_t most,
                             std::int64_t* count, void* to) {
  const Object& o = *shared(raw);
  if (type != ElementType::descriptor) {
    const std::vector<char> bytes = computed(o, attribute);
    *count = std::int64_t(bytes.size() / size_of(type));
    // `to` may be null when `most` is 0: that asks for the count alone.
    std::copy_n(bytes.data(), std::min(bytes.size(), std::size_t(most) * size_of(type)),
                static_cast<char*>(to));
    return 0;
  }
  std::vector<Shared> list;
  if (attribute == Attribute::heuristics_results)
    list = heuristics_results(o);
  else if (const auto found = o.objects.find(attribute); found != o.objects.end())
    list = found->second;
  *count = std::int64_t(list.size());
  for (std::int64_t i = 0; i < std::min(most, *count); ++i)
    shared(static_cast<void**>(to)[i]) = list[std::size_t(i)];
  return 0;
}
int cudnnBackendFinalize(void* raw) {
  const Object& o = *shared(raw);
  if (o.type != DescriptorType::engine) return 0;
  const auto index = o.value<std::int64_t>(Attribute::engine_index);
  return takes(index, o.object(Attribute::engine_graph)) ? 0 : kNotSupported;
}
int cudnnBackendExecute(void* handle, void* plan, void* pack) {
  return execute(*static_cast<Handle*>(handle), *shared(plan), *shared(pack));
}

int cudnnCreateTensorDescriptor(void** out) {
  *out = new PlainTensor;
  return 0;
}
int cudnnDestroyTensorDescriptor(void* raw) {
  delete static_cast<PlainTensor*>(raw);
  return 0;
}
int cudnnSetTensor4dDescriptorEx(void* raw, DataType type, int n, int c, int h, int w, int ns,
                                 int cs, int hs, int ws) {
  const DType dtype = type == DataType::f32   ? DType::f32
                      : type == DataType::f16 ? DType::f16
                                              : DType::bf16;
  *static_cast<PlainTensor*>(raw) = {dtype, {n, c, h, w}, {ns, cs, hs, ws}};
  return 0;
}
int cudnnTransformTensor(void* handle, const void* alpha, void* x_type, const void* x,
                         const void* beta, void* y_type, void* y) {
  float one = 0, zero = 1;
  std::memcpy(&one, alpha, sizeof(one));
  std::memcpy(&zero, beta, sizeof(zero));
  if (one != 1 || zero != 0) return kBadParameter;
  const PlainTensor from = *static_cast<PlainTensor*>(x_type),
                    to = *static_cast<PlainTensor*>(y_type);
  const auto run = [=] {
    std::array<int, 4> i{};
    const auto at = [&](const std::array<int, 4>& strides) {
      return std::int64_t(i[0]) * strides[0] + i[1] * strides[1] + i[2] * strides[2] +
             i[3] * strides[3];
    };
    for (i[0] = 0; i[0] < from.sizes[0]; ++i[0])
      for (i[1] = 0; i[1] < from.sizes[1]; ++i[1])
        for (i[2] = 0; i[2] < from.sizes[2]; ++i[2])
          for (i[3] = 0; i[3] < from.sizes[3]; ++i[3])
            from_double(to.dtype, to_double(from.dtype, x, at(from.strides)), y, at(to.strides));
  };
  enqueue(*static_cast<Handle*>(handle), run, kConversionMilliseconds);
  return 0;
}

}  // extern "C"

}  // namespace metalconv::fake_cuda
