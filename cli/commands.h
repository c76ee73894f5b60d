// SPDX-License-Identifier: Apache-2.0
// The commands, one function each.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "metalconv/plan.h"

namespace metalconv::cli {

/// Add every command. A command that runs writes the exit status; errors leave as exceptions.
void add_commands(CLI::App& app, int argc, char** argv, int* status);

/// What explain says of a kernel: "CHOSEN by estimate, about 0.52 ms, measured 0.61 ms".
std::string verdict_text(const Candidate& candidate);

void add_devices_command(CLI::App& app);
void add_list_command(CLI::App& app);
void add_explain_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_trial_command(CLI::App& app);
void add_doctor_command(CLI::App& app, int* status);
/// `bench` and `verify`.
void add_run_commands(CLI::App& app, int argc, char** argv, int* status);
void add_compare_command(CLI::App& app, int* status);
void add_conv_command(CLI::App& app);
void add_image_command(CLI::App& app, int* status);
void add_ladder_command(CLI::App& app, int* status);
void add_tune_command(CLI::App& app, int argc, char** argv, int* status);

}  // namespace metalconv::cli
