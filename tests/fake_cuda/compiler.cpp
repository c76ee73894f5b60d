// SPDX-License-Identifier: Apache-2.0
// The fake libnvrtc.so.13: its machine code is the text itself, behind the options.
#include <cstddef>
#include <cstring>
#include <string>

namespace {

struct Program {
  std::string text, log;
};
constexpr int kCompilation = 6;

int copy(const std::string& from, char* to) {
  std::memcpy(to, from.c_str(), from.size() + 1);
  return 0;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
const char* nvrtcGetErrorString(int code) {
  return code == kCompilation ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR";
}
int nvrtcGetNumSupportedArchs(int* count) {
  *count = 3;
  return 0;
}
int nvrtcGetSupportedArchs(int* archs) {
  archs[0] = 75;
  archs[1] = 80;
  archs[2] = 90;
  return 0;
}
int nvrtcCreateProgram(void** program, const char* text, const char* name, int headers,
                       const char* const* header_texts, const char* const* header_names) {
  auto* made = new Program{"// " + std::string(name) + "\n" + text, {}};
  for (int i = 0; i < headers; ++i)
    made->text += std::string("\n// header ") + header_names[i] + " of " +
                  std::to_string(std::strlen(header_texts[i])) + " bytes";
  *program = made;
  return 0;
}
int nvrtcCompileProgram(void* program, int count, const char* const* options) {
  auto& p = *static_cast<Program*>(program);
  for (int i = 0; i < count; ++i) p.text = std::string("// ") + options[i] + "\n" + p.text;
  if (p.text.find("BROKEN") == std::string::npos) return 0;
  p.log = "kernels/broken.metal(3): error: BROKEN";
  return kCompilation;
}
int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}
int nvrtcGetProgramLogSize(void* program, std::size_t* size) {
  *size = static_cast<Program*>(program)->log.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(void* program, char* log) {
  return copy(static_cast<Program*>(program)->log, log);
}
int nvrtcGetCUBINSize(void* program, std::size_t* size) {
  *size = static_cast<Program*>(program)->text.size() + 1;
  return 0;
}
int nvrtcGetCUBIN(void* program, char* cubin) {
  return copy(static_cast<Program*>(program)->text, cubin);
}
int nvrtcGetPTXSize(void* program, std::size_t* size) { return nvrtcGetCUBINSize(program, size); }
int nvrtcGetPTX(void* program, char* ptx) { return nvrtcGetCUBIN(program, ptx); }

}  // extern "C"
