// SPDX-License-Identifier: Apache-2.0
// The `metalconv` command. Exit status: 0 ok, 1 verification failed, 2 usage or bad input,
// 3 regression found, 130 interrupted.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

#include "cli/commands.h"
#include "metalconv/error.h"
#include "version.h"

int main(int argc, char** argv) {
  using namespace metalconv;
  CLI::App app{
      "metalconv: 2-D convolution for Apple GPUs, NVIDIA GPUs and CPUs, and a benchmark that\n"
      "prints a time only for a result that it has checked.\n"};
  app.set_version_flag("--version", "metalconv " METALCONV_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "Examples:\n"
      "  metalconv bench baseline --output report\n"
      "  metalconv bench 1x64x56x56,k64,3x3,p1 --batch 1,8 --layout nchw,nhwc\n"
      "  metalconv verify --inject zero-fill\n"
      "  metalconv explain 1x3x600x800,k64,3x3,p1\n"
      "  metalconv tune resnet50\n"
      "  metalconv conv --input x.npy --weights w.npy --padding 1,1,1,1 --output y.npy\n"
      "  metalconv image photo.jpg edges.png --filter sobel\n");
  int status = 0;
  cli::add_commands(app, argc, argv, &status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const Error& e) {
    fmt::print(stderr, "metalconv: {}\n", e.what());
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "metalconv: the memory of this machine is not enough for that\n");
    return 2;
  }
  return status;
}
