// SPDX-License-Identifier: MIT
// manifest.json of a checkpoint: which files it holds, their sizes and checksums, and a checksum of
// the manifest itself. A checkpoint is valid if and only if its manifest verifies.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/checksum.h"

namespace moe {

inline constexpr std::string_view kManifestName = "manifest.json";

struct Manifest {
  struct File {
    std::string name;
    FileChecksum checksum;
  };
  int64_t step = 0;
  std::vector<File> files;
};

/// Indented JSON; its last member is the XXH3-128 of all bytes before it.
std::string manifest_text(const Manifest& manifest);

/// Throws Error when the text is damaged (its own checksum), of another version, or names files
/// that are not plain names. what: how errors call the source.
Manifest parse_manifest(std::string_view text, const std::string& what);

/// Reads manifest.json of a checkpoint folder. Throws Error when it is missing or damaged.
Manifest read_manifest(const std::string& folder);

}  // namespace moe
