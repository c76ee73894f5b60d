// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>

#include "bench/json.h"
#include "bench/run.h"
#include "metalconv/error.h"
#include "plan.h"

namespace metalconv::python {

std::string bench(const std::vector<std::string>& targets, const std::string& device_name,
                  const std::vector<std::string>& implementations, bool every_kernel, bool time,
                  bool cold, double budget) {
  if (!(budget > 0 && std::isfinite(budget)))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("budget is {} seconds, but must be above 0 and finite", budget));
  const metalconv::bench::Workload workload = metalconv::bench::select(targets, {});
  std::atomic<bool> interrupted = false;
  metalconv::bench::RunOptions options;
  options.time = time;
  options.cold = cold;
  options.every_kernel = every_kernel;
  options.measure.budget_seconds = budget;
  options.interrupted = &interrupted;
  for (const std::string& name : implementations)
    options.implementations.push_back(parse_implementation(name));
  options.progress = [&](const metalconv::bench::Progress&) {
    const nb::gil_scoped_acquire hold;
    if (!interrupted && PyErr_CheckSignals() != 0) {
      PyErr_Clear();  // comes again below, when the run has ended
      interrupted = true;
    }
  };
  metalconv::bench::Result result;
  {
    const nb::gil_scoped_release free;
    result = metalconv::bench::run({&device(device_name)}, workload, options);
  }
  if (interrupted) {
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    throw nb::python_error();
  }
  return metalconv::bench::to_json(result);
}

}  // namespace metalconv::python
