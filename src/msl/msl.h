// SPDX-License-Identifier: Apache-2.0
// The front end: one .metal text becomes CUDA C++ for NVRTC, C++ for the emulator, and C++ for the
// legality check. Line numbers stay: diagnostics of all three compilers name the .metal line.
//
// Specialisation macros are not seen here. They are -D options of the compiler that comes after, so
// a text is translated with its #if and #define lines in place.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/embedded.h"
#include "metalconv/error.h"

namespace metalconv::msl {

/// A refusal. what() is "kernels/direct.metal:12: sentence", code() is invalid_argument.
class SourceError : public Error {
 public:
  SourceError(std::string rule, std::string file, int line, const std::string& sentence);
  const std::string& rule() const { return rule_; }  ///< the rule broken, by name: "no-double"
  const std::string& file() const { return file_; }
  int line() const { return line_; }

 private:
  std::string rule_;
  std::string file_;
  int line_;
};

enum class Space { device, constant };

/// A kernel parameter that the host binds.
struct Argument {
  int index = 0;  ///< n of [[buffer(n)]]
  std::string name;
  std::string type;  ///< of what it points to, without address space and const: "ConvParams"
  Space space = Space::device;
  bool is_const = false;
  bool is_reference = false;  ///< CUDA passes a constant reference by value
};

/// A kernel parameter that the device fills in.
struct Builtin {
  std::string attribute;  ///< "thread_position_in_grid"
  std::string name;
  std::string type;
};

struct KernelSignature {
  std::string name;
  int line = 0;
  std::vector<Argument> buffers;  ///< in the order of the parameters, which is CUDA's order
  std::vector<Builtin> builtins;
  /// C++ expressions in terms of the text's own macros and types, hence left to a compiler.
  std::string max_total_threads;  ///< empty when the kernel does not say
  std::string threadgroup_bytes;  ///< "sizeof(float[4]) + sizeof(elem4[8][32])", or empty
};

struct Translation {
  std::string text;
  /// Those inside an #if that the macros turn off are here, too.
  std::vector<KernelSignature> kernels;
};

/// `file` is the name that diagnostics carry. All throw SourceError.
Translation to_cuda(std::string_view source, std::string_view file);
Translation to_emulator(std::string_view source, std::string_view file);
Translation to_check(std::string_view source, std::string_view file);

/// What the translations include, as files for the compiler's include path.
std::span<const EmbeddedFile> cuda_headers();
std::span<const EmbeddedFile> check_headers();

/// The text of a local include by its name, or nothing when there is no such file.
using IncludeReader = std::function<std::optional<std::string>(std::string_view name)>;

/// One string without local includes, each replaced by its file's text between #line directives:
/// Metal's newLibrary(source) and NVRTC have no include path. A file enters once, as if it began
/// with #pragma once. This same string goes to Metal and to the translations.
std::string inline_includes(std::string_view source, std::string_view file,
                            const IncludeReader& read);

/// The same for a file on disk; includes are looked up beside it. Diagnostics name it by its last
/// folder and name: "kernels/direct.metal".
std::string load_source(const std::string& path);
std::string diagnostic_name(const std::string& path);

}  // namespace metalconv::msl
