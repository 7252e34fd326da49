// SPDX-License-Identifier: MIT
// How a file's bytes are handed over without holding them all: the producer is called with a sink
// and pushes pieces. A file on disk, a checkpoint that hashes while it writes and a test's string
// all are sinks.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace moe {

class Fs;

/// Takes the next piece; throws Error when it cannot. The bytes need to live for the call only.
using ByteSink = std::function<void(std::span<const std::byte>)>;
/// Pushes the whole content of one file or tensor, in order, into the sink.
using ByteProducer = std::function<void(const ByteSink& sink)>;
/// Makes one file of a folder from its plain name and its content.
using AddFile = std::function<void(const std::string& name, const ByteProducer& content)>;

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Streams content to a temporary file beside path, then fsync, rename, fsync of the folder:
/// readers see the old file or the whole new one. Symbolic links are followed; a device or a pipe
/// is written into. On any error the temporary file is removed if that is possible, and the error
/// passed on.
void write_file_streaming(Fs& fs, const std::string& path, const ByteProducer& content);

/// 16 hexadecimal digits that no other process has: for names of temporary files and folders.
std::string unique_suffix();

/// A file name with no folder in it: not empty, not "." or "..", no '/', '\' or NUL, at most 255
/// bytes. Names that come from a file (shards, manifests) are opened only when this holds.
bool is_plain_file_name(std::string_view name);

}  // namespace moe
