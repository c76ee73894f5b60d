// SPDX-License-Identifier: Apache-2.0
// _core: what metalconv/__init__.py is made of.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>

#include "bench.h"
#include "cli/devices.h"
#include "metalconv/error.h"
#include "plan.h"

namespace metalconv::python {
namespace {

using Numbers = std::map<std::string, std::int64_t>;

/// Sizes by the names of ConvProblem's fields.
ConvProblem make_problem(const Numbers& numbers, const std::string& dtype,
                         const std::string& layout, bool bias, const std::string& activation) {
  static const std::map<std::string, std::int64_t ConvProblem::*> kFields{
      {"N", &ConvProblem::N},
      {"C", &ConvProblem::C},
      {"H", &ConvProblem::H},
      {"W", &ConvProblem::W},
      {"K", &ConvProblem::K},
      {"R", &ConvProblem::R},
      {"S", &ConvProblem::S},
      {"stride_h", &ConvProblem::stride_h},
      {"stride_w", &ConvProblem::stride_w},
      {"pad_top", &ConvProblem::pad_top},
      {"pad_left", &ConvProblem::pad_left},
      {"pad_bottom", &ConvProblem::pad_bottom},
      {"pad_right", &ConvProblem::pad_right},
      {"dilation_h", &ConvProblem::dilation_h},
      {"dilation_w", &ConvProblem::dilation_w},
      {"groups", &ConvProblem::groups}};
  ConvProblem problem;
  for (const auto& [name, value] : numbers) problem.*kFields.at(name) = value;
  problem.dtype = parse_dtype(dtype);
  problem.layout = parse_layout(layout);
  problem.bias = bias;
  problem.activation = parse_activation(activation);
  problem.validate();
  return problem;
}

nb::list devices() {
  nb::list all;
  for (const cli::DeviceEntry& entry : cli::find_devices({})) {
    nb::dict row;
    row["name"] = entry.name;
    row["model"] = entry.device ? entry.device->info().model : "";
    row["absence"] = entry.absence;
    row["facts"] = entry.device ? entry.device->info().facts : std::map<std::string, std::string>{};
    all.append(row);
  }
  return all;
}

}  // namespace
}  // namespace metalconv::python

NB_MODULE(_core, m) {
  using namespace metalconv;
  using namespace metalconv::python;
  using nb::literals::operator""_a;

  m.attr("version") = METALCONV_PYTHON_VERSION;
  nb::exception<Error>(m, "Error", PyExc_ValueError);

  nb::class_<Tensor>(m, "Tensor")
      .def_static(
          "read",
          [](const std::string& name, nb::ndarray<nb::ro> array, bool bits) {
            return Tensor(name, std::move(array), bits);
          },
          "name"_a, nb::arg("array").noconvert(), "bits"_a)
      .def_static(
          "write",
          [](const std::string& name, nb::ndarray<> array, bool bits) {
            return Tensor(name, Tensor::Array(array), bits);
          },
          "name"_a, nb::arg("array").noconvert(), "bits"_a)
      .def_prop_ro("shape", [](const Tensor& t) { return nb::tuple(nb::cast(t.sizes())); })
      .def_prop_ro("dtype", [](const Tensor& t) { return std::string(to_string(t.dtype())); })
      .def_prop_ro("address",
                   [](const Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.address()); })
      .def_prop_ro("device", [](const Tensor& t) { return t.place().cuda ? "cuda" : "cpu"; })
      .def_prop_ro("ordinal", [](const Tensor& t) { return t.place().ordinal; })
      .def("dlpack", [](const Tensor& t) { return nb::ndarray<nb::array_api>(t.array()); })
      .def("numpy", [](const Tensor& t) { return nb::ndarray<nb::numpy>(t.array()); });

  nb::class_<BoundPlan>(m, "Plan")
      .def(
          "__init__",
          [](BoundPlan* self, const std::string& device, int ordinal, const Numbers& numbers,
             const std::string& dtype, const std::string& layout, bool bias,
             const std::string& activation, const std::string& implementation,
             const std::string& kernel) {
            const ConvProblem problem = make_problem(numbers, dtype, layout, bias, activation);
            PlanOptions options{parse_implementation(implementation), kernel};
            const nb::gil_scoped_release free;
            new (self) BoundPlan(device, ordinal, problem, options);
          },
          "device"_a, "ordinal"_a, "numbers"_a, "dtype"_a, "layout"_a, "bias"_a, "activation"_a,
          "implementation"_a, "kernel"_a)
      .def("pack", &BoundPlan::pack, "w"_a, "bias"_a.none())
      .def("unpack", &BoundPlan::unpack)
      .def("execute", &BoundPlan::execute, "x"_a, "y"_a)
      .def("output", &BoundPlan::output, "x"_a, "bits"_a)
      .def("explain", &BoundPlan::explain)
      .def_prop_ro("output_shape",
                   [](const BoundPlan& p) { return nb::tuple(nb::cast(p.output_sizes())); })
      .def_prop_ro("device", [](const BoundPlan& p) { return p.on().info().name; })
      .def_prop_ro("problem", [](const BoundPlan& p) { return to_text(p.plan().problem()); })
      .def_prop_ro("kernel", [](const BoundPlan& p) { return std::string(p.plan().kernel()); })
      .def_prop_ro("detail", [](const BoundPlan& p) { return p.plan().detail(); })
      .def_prop_ro("packed_bytes", [](const BoundPlan& p) { return p.plan().packed_bytes(); })
      .def_prop_ro("workspace_bytes",
                   [](const BoundPlan& p) { return p.plan().workspace_bytes(); });

  m.def("devices", &devices);
  m.def("bench", &bench, "targets"_a, "device"_a, "implementations"_a, "every_kernel"_a, "time"_a,
        "cold"_a, "budget"_a);
}
