// SPDX-License-Identifier: Apache-2.0
#include "cli/trial.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include "metalconv/error.h"

extern char** environ;

namespace metalconv::cli {
namespace {

constexpr auto kLimit = std::chrono::seconds(120);

std::filesystem::path this_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path() : path;
}

/// The child's exit status, or -1 when it had to be ended.
int wait_for(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  int status = 0;
  auto pause = std::chrono::milliseconds(1);
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return -1;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
  return status;
}

}  // namespace

std::string try_in_child(const std::string& device_flags, const ConvProblem& problem,
                         const std::string& kernel) {
  const std::string program = this_program().string();
  if (program.empty()) return {};  // no way to start ourselves again here: try it in the open
  std::vector<std::string> words{program, kTrialCommand, to_text(problem), kernel};
  std::istringstream flags(device_flags);
  for (std::string word; flags >> word;) words.push_back(word);
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t child = 0;
  const int failed = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return fmt::format("the trial process did not start: {}", std::strerror(failed));

  const int status = wait_for(child);
  if (status == -1) return fmt::format("{} did not finish one execution in 120 s", kernel);
  if (WIFSIGNALED(status))
    return fmt::format("{} crashed on this problem in a trial process (signal {}, {})", kernel,
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
  return {};  // an error that it reported comes again, with its sentence, from the real plan
}

void run_trial(Device& device, const ConvProblem& problem, const std::string& kernel) {
  std::vector<std::byte> x(std::size_t(problem.x_bytes())), w(std::size_t(problem.w_bytes())),
      bias(std::size_t(problem.K) * size_of(problem.dtype)), y(std::size_t(problem.y_bytes()));
  conv2d(device, problem, x.data(), w.data(), bias.data(), y.data(),
         {Implementation::vendor, kernel});
}

}  // namespace metalconv::cli
