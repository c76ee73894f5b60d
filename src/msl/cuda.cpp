// SPDX-License-Identifier: Apache-2.0
// CUDA C++ for NVRTC. A kernel becomes a __global__ function in place: buffers stay parameters,
// built-in values become variables at the head of its body.
#include "msl/plain.h"

namespace metalconv::msl {
namespace {

std::string head(const KernelSignature& s) {
  const std::string bounds =
      s.max_total_threads.empty() ? "" : " __launch_bounds__(" + s.max_total_threads + ")";
  return "extern \"C\" __global__" + bounds;
}

std::string builtin_variables(const KernelSignature& s) {
  std::string out;
  for (const Builtin& b : s.builtins) {
    out += " [[maybe_unused]] " + b.type + " " + b.name;
    out += " = msl::builtin<" + b.type + ">(msl::" + b.attribute + "());";
  }
  return out;
}

// A constant reference lies in CUDA's constant bank of parameters, whole.
std::string by_value(const Argument& a) {
  return "const __grid_constant__ " + a.type + " " + a.name;
}

void edit_parameters(const Kernel& kernel, Edits& edits) {
  std::size_t kept = kernel.signature.buffers.size();
  for (const Parameter& p : kernel.parameters) {
    if (p.is_builtin) {
      edits.erase(*p.first, *p.attribute_last);
    } else {
      --kept;
      const Argument& a = kernel.signature.buffers[std::size_t(p.number)];
      const bool value = a.is_reference && a.space == Space::constant;
      if (value)
        edits.replace(*p.first, *p.attribute_last, by_value(a));
      else
        edits.erase(*p.attribute_first, *p.attribute_last);
    }
    if (p.comma && (p.is_builtin || kept == 0)) edits.erase(*p.comma);
  }
}

std::string declare(const ThreadgroupStorage& storage) {
  std::string out;
  for (const auto& variable : storage.variables) {
    if (!out.empty()) out += ' ';
    // 16 bytes, so that arrays of scalars can be read as vectors of 4.
    out += "__shared__ __align__(16) " + storage.type + " ";
    out += variable.name + variable.dimensions + ";";
  }
  return out;
}

}  // namespace

Translation to_cuda(std::string_view source, std::string_view file) {
  const Program program = parse(source, file);
  Edits edits(program.source);
  for (const Kernel& kernel : program.kernels) {
    edits.replace(*kernel.head_first, *kernel.head_last, head(kernel.signature));
    edit_parameters(kernel, edits);
    edits.insert_after(*kernel.open_brace, builtin_variables(kernel.signature));
  }
  for (const ThreadgroupStorage& s : program.storage) edits.replace(*s.first, *s.last, declare(s));
  for (const Token* word : program.constants) edits.replace(*word, "__constant__ const");
  erase_includes(program, edits);
  erase_address_spaces(program, edits);
  type_literals(program, edits);
  std::string text = "#include \"msl_cuda.h\"\nnamespace msl_program {\n";
  text += line_directive(program) + edits.apply() + "\n}  // namespace msl_program\n";
  return {std::move(text), program.signatures()};
}

}  // namespace metalconv::msl
