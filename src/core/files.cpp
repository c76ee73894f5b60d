// SPDX-License-Identifier: Apache-2.0
#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "metalconv/error.h"

namespace metalconv {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const std::string& what, int error) {
  throw Error(ErrorCode::io, "cannot " + what + " " + path + ": " + std::strerror(error));
}

/// A file descriptor that closes itself.
class File {
 public:
  File(std::string path, int flags)
      : path_(std::move(path)), descriptor_(::open(path_.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~File() {
    if (is_open()) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool is_open() const { return descriptor_ >= 0; }

  /// False with errno set when the disk is full, the pipe broken ...
  bool write_all(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return false;
      text.remove_prefix(std::size_t(written));
    }
    return true;
  }
  bool flush() { return ::fsync(descriptor_) == 0; }

 private:
  std::string path_;
  int descriptor_;
};

/// Where the file really lives, so that a symbolic link keeps pointing at it.
fs::path target_of(const std::string& path) {
  std::error_code ignored;
  const fs::path resolved = fs::canonical(path, ignored);
  return ignored ? fs::path(path) : resolved;
}

void write_in_place(const std::string& path, std::string_view text) {
  File file(path, O_WRONLY);
  if (!file.is_open() || !file.write_all(text)) fail(path, "write", errno);
}

}  // namespace

void write_file(const std::string& path, std::string_view text) {
  const fs::path target = target_of(path);
  struct stat status {};
  const bool exists = ::stat(target.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail(path, "write", EISDIR);
  if (exists && !S_ISREG(status.st_mode)) return write_in_place(path, text);

  const std::string beside = target.string() + ".new-" + std::to_string(::getpid());
  const auto fail_without = [&](int error) {
    ::unlink(beside.c_str());
    fail(path, "write", error);
  };
  {
    File file(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.is_open()) fail(path, "write", errno);
    if (!file.write_all(text) || !file.flush()) fail_without(errno);
  }
  if (::rename(beside.c_str(), target.c_str()) != 0) fail_without(errno);
  // Best effort: some file systems cannot flush a directory, and the rename has happened.
  const fs::path parent = target.parent_path();
  File directory(parent.empty() ? "." : parent.string(), O_RDONLY | O_DIRECTORY);
  if (directory.is_open()) directory.flush();
}

void check_writable(const std::string& path) {
  const fs::path target = target_of(path);
  struct stat status {};
  const bool exists = ::stat(target.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail(path, "write", EISDIR);
  const bool beside = !exists || S_ISREG(status.st_mode);  // a new file takes its place
  const fs::path parent = target.parent_path().empty() ? "." : target.parent_path();
  if (beside && !fs::is_directory(parent)) fail(path, "write", ENOENT);
  if (::access(beside ? parent.c_str() : target.c_str(), W_OK) != 0) fail(path, "write", errno);
}

std::string read_file(const std::string& path, std::uintmax_t most_bytes) {
  std::error_code error;
  if (fs::is_directory(path, error)) fail(path, "read", EISDIR);
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path, "read", errno);
  std::string text;
  char block[1 << 16];
  while (file.read(block, sizeof block) || file.gcount() > 0) {
    text.append(block, std::size_t(file.gcount()));
    if (text.size() > most_bytes)
      throw Error(ErrorCode::io, "cannot read " + path + ": it is larger than " +
                                     std::to_string(most_bytes >> 20) + " MiB");
  }
  if (file.bad()) fail(path, "read", errno);
  return text;
}

}  // namespace metalconv
