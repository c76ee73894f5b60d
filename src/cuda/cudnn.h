// SPDX-License-Identifier: Apache-2.0
// The part of cuDNN 9's backend API that is used, declared by hand (cudnn_graph.h and cudnn_ops.h
// of 9.19; tests/cuda_test.cpp has a real cuDNN accept what is built with these numbers).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "cuda/library.h"

namespace metalconv::cuda::cudnn {

enum class DataType : int { f32 = 0, f16 = 2, bf16 = 9 };
enum class ConvolutionMode : int { cross_correlation = 1 };
enum class PointwiseMode : int { add = 0, relu = 100, swish = 106 };
enum class HeuristicMode : int { instant = 0, b = 1, fallback = 2, a = 3 };
enum class Knob : int {};

enum class NumericalNote : int {
  tensor_core = 0,
  down_convert_inputs = 1,
  reduced_precision_reduction = 2,
};
inline constexpr std::size_t kMaxNotes = 32;  // 10 in 9.19
inline constexpr std::size_t kMaxKnobs = 64;  // 44 in 9.19

enum class DescriptorType : int {
  pointwise = 0,
  convolution = 1,
  engine = 2,
  engine_config = 3,
  heuristics = 4,
  execution_plan = 5,
  knob_choice = 7,
  convolution_forward_operation = 10,
  pointwise_operation = 13,
  operation_graph = 15,
  variant_pack = 16,
  tensor = 17,
  device_properties = 38,
};

enum class ElementType : int {
  handle = 0,
  data_type = 1,
  boolean = 2,
  int64 = 3,
  float32 = 4,
  float64 = 5,
  pointer = 6,
  convolution_mode = 7,
  heuristic_mode = 8,
  knob_type = 9,
  numerical_note = 11,
  pointwise_mode = 14,
  descriptor = 15,
  character = 24,
};

enum class Attribute : int {
  pointwise_mode = 0,
  pointwise_math_type = 1,
  pointwise_lower_clip = 3,
  pointwise_upper_clip = 4,
  pointwise_swish_beta = 8,
  convolution_compute_type = 100,
  convolution_mode = 101,
  convolution_dilations = 102,
  convolution_strides = 103,
  convolution_post_paddings = 104,
  convolution_pre_paddings = 105,
  convolution_spatial_dims = 106,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  heuristics_device = 204,
  config_engine = 300,
  config_knobs = 302,
  plan_handle = 400,
  plan_config = 401,
  plan_workspace_bytes = 402,
  plan_device = 407,
  knob_type = 600,
  knob_value = 601,
  forward_alpha = 700,
  forward_beta = 701,
  forward_convolution = 702,
  forward_w = 703,
  forward_x = 704,
  forward_y = 705,
  pointwise_operation_descriptor = 750,
  pointwise_operation_x = 751,
  pointwise_operation_b = 752,
  pointwise_operation_y = 753,
  graph_handle = 800,
  graph_operations = 801,
  graph_engine_count = 802,
  tensor_alignment = 900,
  tensor_data_type = 901,
  tensor_sizes = 902,
  tensor_strides = 903,
  tensor_id = 906,
  tensor_is_virtual = 907,
  pack_ids = 1000,
  pack_pointers = 1001,
  pack_workspace = 1003,
  engine_graph = 1300,
  engine_index = 1301,
  engine_notes = 1303,
  engine_device = 1307,
  device_json = 2702,
};

using RawHandle = void*;      // cudnnHandle_t
using RawDescriptor = void*;  // cudnnBackendDescriptor_t, cudnnTensorDescriptor_t

/// The library's functions.
class Api {
 public:
  /// Throws Error{device} when the library is not found or too old.
  explicit Api(const Places& places);

  /// Throws Error{device} with cuDNN's own words for a failure.
  template <class F, class... Arguments>
  void call(const F& function, Arguments... arguments) const {
    const int status = function(arguments...);
    if (status != 0) fail(function.name(), status);
  }
  [[noreturn]] void fail(const char* function, int status) const;
  std::string version() const;  ///< "9.19.0"

 private:
  Library library_;

 public:
  Function<std::size_t()> get_version{library_, "cudnnGetVersion"};
  Function<const char*(int)> error_string{library_, "cudnnGetErrorString"};
  Function<void(char*, std::size_t)> last_error{library_, "cudnnGetLastErrorString"};
  Function<int(RawHandle*)> create{library_, "cudnnCreate"};
  Function<int(RawHandle)> destroy{library_, "cudnnDestroy"};
  Function<int(RawHandle, void*)> set_stream{library_, "cudnnSetStream"};

  Function<int(DescriptorType, RawDescriptor*)> backend_create{library_,
                                                               "cudnnBackendCreateDescriptor"};
  Function<int(RawDescriptor)> backend_destroy{library_, "cudnnBackendDestroyDescriptor"};
  Function<int(RawDescriptor)> backend_finalize{library_, "cudnnBackendFinalize"};
  Function<int(RawDescriptor, Attribute, ElementType, std::int64_t, const void*)> backend_set{
      library_, "cudnnBackendSetAttribute"};
  Function<int(RawDescriptor, Attribute, ElementType, std::int64_t, std::int64_t*, void*)>
      backend_get{library_, "cudnnBackendGetAttribute"};
  Function<int(RawHandle, RawDescriptor, RawDescriptor)> backend_execute{library_,
                                                                         "cudnnBackendExecute"};

  Function<int(RawDescriptor*)> tensor_create{library_, "cudnnCreateTensorDescriptor"};
  Function<int(RawDescriptor)> tensor_destroy{library_, "cudnnDestroyTensorDescriptor"};
  /// data type; n, c, h, w; their strides
  Function<int(RawDescriptor, DataType, int, int, int, int, int, int, int, int)> tensor_set{
      library_, "cudnnSetTensor4dDescriptorEx"};
  /// y = alpha x + beta y: handle; alpha, x's descriptor and address; beta, y's
  Function<int(RawHandle, const void*, RawDescriptor, const void*, const void*, RawDescriptor,
               void*)>
      transform{library_, "cudnnTransformTensor"};
};

/// An object of the backend API: attributes are set, then it is finalized and only read. Failures
/// are Error{device}.
class Descriptor {
 public:
  Descriptor(const Api& api, DescriptorType type);
  ~Descriptor();
  Descriptor(Descriptor&&) noexcept;
  Descriptor& operator=(Descriptor&&) noexcept;

  RawDescriptor raw() const { return raw_; }

  void set(Attribute attribute, std::span<const std::int64_t> values);
  void set(Attribute attribute, std::initializer_list<std::int64_t> values) {
    set(attribute, std::span(values.begin(), values.size()));
  }
  void set(Attribute attribute, std::int64_t value) { set(attribute, {value}); }
  void set(Attribute attribute, bool value);
  void set(Attribute attribute, float value);
  void set(Attribute attribute, double value);
  void set(Attribute attribute, DataType value);
  void set(Attribute attribute, ConvolutionMode value);
  void set(Attribute attribute, PointwiseMode value);
  void set(Attribute attribute, HeuristicMode value);
  void set(Attribute attribute, const Descriptor& value);
  void set(Attribute attribute, const std::vector<Descriptor>& values);
  void set(Attribute attribute, const std::string& text);
  void set_handle(Attribute attribute, RawHandle value);
  void set_pointers(Attribute attribute, std::span<void* const> values);
  void finalize();

  std::int64_t get_int64(Attribute attribute) const;
  std::vector<NumericalNote> get_notes() const;
  /// A descriptor that this one holds.
  Descriptor get_descriptor(Attribute attribute, DescriptorType type) const;
  /// All those of an attribute that is a list, at most `most`.
  std::vector<Descriptor> get_descriptors(Attribute attribute, DescriptorType type,
                                          std::size_t most) const;
  Knob get_knob_type() const;
  /// How many descriptors an attribute that is a list has.
  std::size_t count(Attribute attribute) const;

 private:
  void set_raw(Attribute attribute, ElementType type, std::size_t count, const void* values);
  std::size_t get_raw(Attribute attribute, ElementType type, std::size_t most, void* values) const;

  const Api* api_;
  RawDescriptor raw_ = nullptr;
};

/// What graphs are made for: a handle, or, without any device, the properties of one as JSON (cuDNN
/// 9.8 and later), which is how the tests have real engines chosen where there is no GPU.
class Target {
 public:
  Target(const Api& api, RawHandle handle) : api_(api), handle_(handle) {}
  Target(const Api& api, const std::string& device_json);

  const Api& api() const { return api_; }
  void enter_graph(Descriptor& graph) const;
  void enter_engine(Descriptor& engine) const;
  void enter_heuristics(Descriptor& heuristics) const;
  void enter_plan(Descriptor& plan) const;

 private:
  const Api& api_;
  RawHandle handle_ = nullptr;
  std::vector<Descriptor> device_;  // one, or none with a handle
};

}  // namespace metalconv::cuda::cudnn
