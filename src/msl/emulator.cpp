// SPDX-License-Identifier: Apache-2.0
// C++ for the emulator. A kernel stays a function; behind it, on the line of its last brace, stands
// the thunk that takes its arguments from the emulator (msl_emulator.h has the macros).
#include "msl/plain.h"

namespace metalconv::msl {
namespace {

std::string argument(const Kernel& kernel, const Parameter& parameter) {
  if (parameter.is_builtin) {
    const Builtin& b = kernel.signature.builtins[std::size_t(parameter.number)];
    return "msl::builtin<" + b.type + ">(msl_thread." + b.attribute + ")";
  }
  const Argument& a = kernel.signature.buffers[std::size_t(parameter.number)];
  return std::string("msl::buffer<") + (a.is_const ? "const " : "") + a.type +
         (a.is_reference ? "&" : "*") + ">(msl_arguments, " + std::to_string(a.index) + ")";
}

std::string thunk(const Kernel& kernel) {
  const KernelSignature& s = kernel.signature;
  std::string out = " MSL_KERNEL(" + s.name + ", ";
  out += (s.max_total_threads.empty() ? "0" : s.max_total_threads) + ") { " + s.name + "(";
  for (const Parameter& parameter : kernel.parameters) {
    out += argument(kernel, parameter) + (parameter.comma ? ", " : "");
  }
  return out + "); }";
}

std::string declare(const ThreadgroupStorage& storage) {
  std::string out;
  for (const auto& variable : storage.variables) {
    if (!out.empty()) out += ' ';
    out += "MSL_THREADGROUP(" + variable.name + ", " + storage.type + variable.dimensions + ");";
  }
  return out;
}

}  // namespace

Translation to_emulator(std::string_view source, std::string_view file) {
  const Program program = parse(source, file);
  Edits edits(program.source);
  for (const Kernel& kernel : program.kernels) {
    erase_kernel_attributes(kernel, edits);
    edits.insert_after(*kernel.close_brace, thunk(kernel));
  }
  for (const ThreadgroupStorage& s : program.storage) edits.replace(*s.first, *s.last, declare(s));
  erase_includes(program, edits);
  erase_address_spaces(program, edits);
  type_literals(program, edits);
  std::string text = "#include \"msl_emulator.h\"\nnamespace msl_program {\n";
  text += line_directive(program) + edits.apply() + "\n}  // namespace msl_program\n";
  return {std::move(text), program.signatures()};
}

}  // namespace metalconv::msl
