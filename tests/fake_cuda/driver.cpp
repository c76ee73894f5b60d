// SPDX-License-Identifier: Apache-2.0
// The fake libcuda.so.1: one device in host memory.
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fake_cuda.h"

namespace metalconv::fake_cuda {
namespace {

constexpr int kInvalidValue = 1, kOutOfMemory = 2, kInvalidContext = 201, kNotFound = 500;
constexpr int kCaptureUnsupported = 900;

/// Kernels by name: the parameters' addresses, in the order of the translated kernel.
void add_value(void** parameters) {
  auto* y = *static_cast<float**>(parameters[0]);
  AddParams p;
  std::memcpy(&p, parameters[1], sizeof(p));
  const auto* x = *static_cast<const float* const*>(parameters[2]);
  for (std::uint32_t i = 0; i < p.count; ++i) y[i] = (x ? x[i] : 0) + p.value;
}

using KernelFunction = void (*)(void**);
const std::map<std::string, KernelFunction>& kernels() {
  static const std::map<std::string, KernelFunction> all{{"add_value", add_value}};
  return all;
}

struct Work {
  std::function<void()> run;
  double seconds = 0;
};
struct Graph {
  std::vector<Work> work;
};
struct Stream {
  bool capturing = false;
  std::unique_ptr<Graph> graph;
};
struct Event {
  double seconds = 0;
};

struct State {
  Counters counters;
  std::set<void*> blocks;
  std::map<std::string, int> failures;
  double seconds = 0;  // the device's clock
};
State& state() {
  static State all;
  return all;
}
thread_local std::vector<void*> current;

/// The injected failure of a function, or what its rules say.
int refusal(const char* function, bool needs_context = true) {
  auto& failures = state().failures;
  if (const auto found = failures.find(function); found != failures.end()) {
    const int code = found->second;
    failures.erase(found);
    return code;
  }
  return needs_context && current.empty() ? kInvalidContext : 0;
}

template <class T>
int create(const char* function, void** out, int Counters::*counter, T* made) {
  std::unique_ptr<T> object(made);
  if (const int code = refusal(function)) return code;
  ++(state().counters.*counter);
  *out = object.release();
  return 0;
}
template <class T>
int destroy(const char* function, void* object, int Counters::*counter) {
  if (const int code = refusal(function)) return code;
  --(state().counters.*counter);
  delete static_cast<T*>(object);
  return 0;
}

void execute(const Work& work) {
  work.run();
  ++state().counters.launches;
  state().seconds += work.seconds;
}

void enqueue(void* stream, Work work) {
  static Stream default_stream;
  auto& s = stream ? *static_cast<Stream*>(stream) : default_stream;
  if (s.capturing)
    s.graph->work.push_back(std::move(work));
  else
    execute(work);
}

/// A launch copies its parameters, so that a replay finds them: pointer, struct, pointer is what
/// the kernels here take.
struct Parameters {
  std::uint64_t first = 0, last = 0;
  AddParams constants;

  explicit Parameters(void** from) {
    std::memcpy(&first, from[0], sizeof(first));
    std::memcpy(&constants, from[1], sizeof(constants));
    std::memcpy(&last, from[2], sizeof(last));
  }
  void run(KernelFunction kernel) const {
    Parameters mine = *this;
    void* addresses[] = {&mine.first, &mine.constants, &mine.last};
    kernel(addresses);
  }
};

}  // namespace

// Device addresses are integers in cuda.h, which are passed as pointers are.
extern "C" {

Counters fake_cuda_counters() {
  Counters counters = state().counters;
  counters.stacked = int(current.size());
  return counters;
}
void fake_cuda_fail(const char* function, int code) { state().failures[function] = code; }

void fake_cuda_enqueue(void* stream, const std::function<void()>& work, double seconds) {
  enqueue(stream, {work, seconds});
}

int cuInit(unsigned) { return refusal("cuInit", false); }
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
int cuGetErrorName(int code, const char** name) {
  *name = code == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return code >= 0 ? 0 : kInvalidValue;
}
int cuGetErrorString(int code, const char** words) {
  *words = code == kOutOfMemory ? "out of memory" : "a failure of the stand-in";
  return code >= 0 ? 0 : kInvalidValue;
}
int cuDeviceGetCount(int* count) {
  *count = 1;
  return 0;
}
int cuDeviceGet(int* device, int ordinal) {
  *device = 40 + ordinal;  // not the ordinal, so that they are not confused
  return 0;
}
int cuDeviceGetName(char* name, int size, int device) {
  std::strncpy(name, "Stand-in GPU", std::size_t(size));
  return device == 40 ? 0 : kInvalidValue;
}
int cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
  *bytes = std::size_t(1) << 34;
  return device == 40 ? 0 : kInvalidValue;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  static const std::map<int, int> values{
      {1, 1024}, {5, 2147483647}, {6, 65535}, {7, 65535},     {8, 49152}, {10, 32}, {13, 1980000},
      {16, 132}, {36, 2619000},   {37, 5120}, {38, 52428800}, {75, 9},    {76, 0}};
  const auto found = values.find(attribute);
  if (found == values.end() || device != 40) return kInvalidValue;
  *value = found->second;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
  if (device != 40) return kInvalidValue;
  static int the_context;
  *context = &the_context;
  ++state().counters.contexts;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
  --state().counters.contexts;
  return device == 40 ? 0 : kInvalidValue;
}
int cuCtxPushCurrent_v2(void* context) {
  current.push_back(context);
  return context ? 0 : kInvalidContext;
}
int cuCtxPopCurrent_v2(void** context) {
  if (current.empty()) return kInvalidContext;
  *context = current.back();
  current.pop_back();
  return 0;
}
int cuMemAlloc_v2(void** pointer, std::size_t bytes) {
  if (const int code = refusal("cuMemAlloc_v2")) return code;
  if (bytes == 0) return kInvalidValue;
  constexpr std::size_t kAlignment = 256;  // CUDA's
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* block = bytes > (std::size_t(1) << 34) ? nullptr : std::aligned_alloc(kAlignment, rounded);
  if (!block) return kOutOfMemory;
  state().blocks.insert(block);
  ++state().counters.blocks;
  *pointer = block;
  return 0;
}
int cuMemFree_v2(void* block) {
  if (const int code = refusal("cuMemFree_v2")) return code;
  if (state().blocks.erase(block) == 0) return kInvalidValue;
  std::free(block);
  --state().counters.blocks;
  return 0;
}
int cuMemcpyHtoD_v2(void* to, const void* from, std::size_t bytes) {
  if (const int code = refusal("cuMemcpyHtoD_v2")) return code;
  std::memcpy(to, from, bytes);
  return 0;
}
int cuMemcpyDtoH_v2(void* to, const void* from, std::size_t bytes) {
  if (const int code = refusal("cuMemcpyDtoH_v2")) return code;
  std::memcpy(to, from, bytes);
  return 0;
}
int cuMemcpyDtoDAsync_v2(void* to, const void* from, std::size_t bytes, void* stream) {
  if (const int code = refusal("cuMemcpyDtoDAsync_v2")) return code;
  enqueue(stream, {[=] { std::memcpy(to, from, bytes); }, 0});
  return 0;
}
int cuMemsetD8Async(void* to, unsigned char value, std::size_t bytes, void* stream) {
  if (const int code = refusal("cuMemsetD8Async")) return code;
  enqueue(stream, {[=] { std::memset(to, value, bytes); }, 0});
  return 0;
}
int cuModuleLoadData(void** module, const void* image) {
  return create("cuModuleLoadData", module, &Counters::modules,
                new std::string(static_cast<const char*>(image)));
}
int cuModuleUnload(void* module) {
  return destroy<std::string>("cuModuleUnload", module, &Counters::modules);
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  if (const int code = refusal("cuModuleGetFunction")) return code;
  const auto found = kernels().find(name);
  if (found == kernels().end() ||
      static_cast<std::string*>(module)->find(name) == std::string::npos)
    return kNotFound;
  *function = reinterpret_cast<void*>(found->second);
  return 0;
}
int cuFuncGetAttribute(int* value, int attribute, void* function) {
  *value = 256;
  return attribute == 0 && function ? 0 : kInvalidValue;
}
int cuFuncSetAttribute(void* function, int, int) {
  return function ? refusal("cuFuncSetAttribute") : kInvalidValue;
}
int cuLaunchKernel(void* function, unsigned, unsigned, unsigned, unsigned x, unsigned y, unsigned z,
                   unsigned shared, void* stream, void** parameters, void** extra) {
  if (const int code = refusal("cuLaunchKernel")) return code;
  if (shared != 0 || extra || x * y * z > 256) return kInvalidValue;
  const auto run = [function, copied = Parameters(parameters)] {
    copied.run(reinterpret_cast<KernelFunction>(function));
  };
  enqueue(stream, {run, kLaunchSeconds});
  return 0;
}
int cuStreamCreate(void** stream, unsigned flags) {
  return flags == 1 ? create("cuStreamCreate", stream, &Counters::streams, new Stream)
                    : kInvalidValue;
}
int cuStreamDestroy_v2(void* stream) {
  return destroy<Stream>("cuStreamDestroy_v2", stream, &Counters::streams);
}
int cuStreamSynchronize(void* stream) {
  if (const int code = refusal("cuStreamSynchronize")) return code;
  return stream && static_cast<Stream*>(stream)->capturing ? kCaptureUnsupported : 0;
}
int cuStreamBeginCapture_v2(void* stream, int mode) {
  if (const int code = refusal("cuStreamBeginCapture_v2")) return code;
  if (!stream) return kCaptureUnsupported;
  auto& s = *static_cast<Stream*>(stream);
  s.capturing = true;
  s.graph = std::make_unique<Graph>();
  return mode == 2 ? 0 : kInvalidValue;
}
int cuStreamEndCapture(void* stream, void** graph) {
  auto& s = *static_cast<Stream*>(stream);
  s.capturing = false;
  return create("cuStreamEndCapture", graph, &Counters::graphs, s.graph.release());
}
int cuGraphDestroy(void* graph) {
  return destroy<Graph>("cuGraphDestroy", graph, &Counters::graphs);
}
int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
  return create("cuGraphInstantiateWithFlags", exec, &Counters::graphs,
                new Graph(*static_cast<Graph*>(graph)));
}
int cuGraphExecDestroy(void* exec) {
  return destroy<Graph>("cuGraphExecDestroy", exec, &Counters::graphs);
}
int cuGraphUpload(void*, void*) { return refusal("cuGraphUpload"); }
int cuGraphLaunch(void* exec, void*) {
  if (const int code = refusal("cuGraphLaunch")) return code;
  ++state().counters.graph_runs;
  for (const Work& work : static_cast<Graph*>(exec)->work) execute(work);
  return 0;
}
int cuEventCreate(void** event, unsigned flags) {
  return flags == 0 ? create("cuEventCreate", event, &Counters::events, new Event) : kInvalidValue;
}
int cuEventDestroy_v2(void* event) {
  return destroy<Event>("cuEventDestroy_v2", event, &Counters::events);
}
int cuEventRecord(void* event, void*) {
  if (const int code = refusal("cuEventRecord")) return code;
  static_cast<Event*>(event)->seconds = state().seconds;
  return 0;
}
int cuEventSynchronize(void*) { return refusal("cuEventSynchronize"); }
int cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  if (const int code = refusal("cuEventElapsedTime")) return code;
  *milliseconds =
      float((static_cast<Event*>(end)->seconds - static_cast<Event*>(start)->seconds) * 1e3);
  return 0;
}

}  // extern "C"

}  // namespace metalconv::fake_cuda
