// SPDX-License-Identifier: MIT
// Streaming a file into place, atomically (see byte_sink.h).
#include "moe/io/byte_sink.h"

#include <atomic>
#include <cstdio>
#include <fmt/format.h>
#include <memory>
#include <random>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"

namespace moe {

std::string unique_suffix() {
  // The device alone would do; process id and a counter keep names apart even where it is a fixed
  // sequence.
  static std::atomic<uint32_t> counter{0};
  const uint32_t low = uint32_t(getpid()) * 0x9E3779B1u + counter.fetch_add(1);
  return fmt::format("{:08x}{:08x}", std::random_device{}(), low);
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

void write_file_streaming(Fs& fs, const std::string& path, const ByteProducer& content) {
  const WriteTarget target = write_target(path);
  if (target.in_place) {
    const std::unique_ptr<WritableFile> file = fs.create(target.path);
    content([&](std::span<const std::byte> bytes) { file->write(bytes); });
    return file->close();
  }
  const std::string temporary = target.path + ".tmp-" + unique_suffix();
  try {
    const std::unique_ptr<WritableFile> file = fs.create(temporary);
    content([&](std::span<const std::byte> bytes) { file->write(bytes); });
    file->sync();
    file->close();
    fs.rename(temporary, target.path);
  } catch (...) {
    try {
      fs.remove_file(temporary);
    } catch (const Error&) {
      // The disk is failing; the first error is the one to report.
    }
    throw;
  }
  fs.sync_directory(parent_path(target.path));
}

}  // namespace moe
