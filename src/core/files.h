// SPDX-License-Identifier: Apache-2.0
// Files that are whole or not there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metalconv {

/// Writes `text` to a new file beside `path`, flushes it to the disk and renames it: whoever reads
/// `path` sees the old file or the new one, never a part, even if this process is killed. What is
/// not a regular file (a pipe, /dev/stdout) is written in place. Throws Error{io} naming the path.
void write_file(const std::string& path, std::string_view text);

/// Throws what write_file would, as far as that can be seen before there is anything to write: for
/// a folder that is not there, say.
void check_writable(const std::string& path);

/// The whole file. Throws Error{io} naming the path, also for a file above `most_bytes`.
std::string read_file(const std::string& path, std::uintmax_t most_bytes = std::uintmax_t(1) << 30);

}  // namespace metalconv
