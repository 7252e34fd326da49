// SPDX-License-Identifier: MIT
// Saving a checkpoint (see checkpoint.h). The order of the calls is the whole point; the tests
// fail, stop and reorder each one.
#include <algorithm>
#include <utility>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/io/checkpoint.h"
#include "moe/io/checkpoint_name.h"
#include "moe/io/checksum.h"
#include "moe/io/safetensors_folder.h"

namespace moe {
namespace {

constexpr std::string_view kLatestName = "latest";

/// Whether the manifest parses and every file has its size: what can be known without reading the
/// data again.
bool looks_whole(const std::string& folder) {
  try {
    for (const Manifest::File& file : read_manifest(folder).files)
      if (file_size(join_path(folder, file.name)) != file.checksum.bytes) return false;
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(Fs& fs, const std::string& run_folder, int64_t step)
    : fs_(fs), checkpoints_folder_(checkpoints_folder(run_folder)), name_(checkpoint_name(step)) {
  MOE_CHECK(step >= 0, "[checkpoint] step is ", step, ", must not be negative");
  manifest_.step = step;
  make_directories(fs_, checkpoints_folder_);
  // Even when it was there: whoever made it may have died before the sync.
  fs_.sync_directory(run_folder);
  clear_leftovers();
  const std::string folder = path(name_ + ".tmp-" + unique_suffix());
  fs_.make_directory(folder);
  temporary_ = folder;
}

CheckpointWriter::~CheckpointWriter() {
  if (committed_) return;
  // Best effort: this may run because the disk fails, and the next writer clears up anyway.
  try {
    if (!moved_aside_.empty() && !exists(path(name_))) fs_.rename(moved_aside_, path(name_));
  } catch (...) {
  }
  try {
    if (!temporary_.empty()) remove_all(fs_, temporary_);
  } catch (...) {
  }
}

std::string CheckpointWriter::path(std::string_view name) const {
  return join_path(checkpoints_folder_, name);
}

void CheckpointWriter::clear_leftovers() {
  using Kind = CheckpointName::Kind;
  for (const std::string& name : list_directory(checkpoints_folder_)) {
    const auto parsed = parse_checkpoint_name(name);
    if (parsed && parsed->kind == Kind::moved_aside) {
      const std::string final_path = path(checkpoint_name(parsed->step));
      if (exists(final_path))
        remove_all(fs_, path(name));
      else
        fs_.rename(path(name), final_path);
    } else if (parsed && parsed->kind == Kind::temporary) {
      remove_all(fs_, path(name));
    } else if (starts_with(name, str(kLatestName, ".tmp-"))) {
      fs_.remove_file(path(name));
    }
  }
}

void CheckpointWriter::add_file(const std::string& name, const ByteProducer& content) {
  MOE_CHECK(is_plain_file_name(name) && name != kManifestName, "[checkpoint] '", printable(name),
            "' cannot be the name of a file of a checkpoint");
  MOE_CHECK(std::none_of(manifest_.files.begin(), manifest_.files.end(),
                         [&](const Manifest::File& file) { return file.name == name; }),
            "[checkpoint] file '", printable(name), "' is added twice");
  MOE_CHECK(!std::exchange(spent_, true) && !committed_,
            "[checkpoint] this save has failed or is done; start a new one");
  HashingFile file(fs_, join_path(temporary_, name));
  content([&](std::span<const std::byte> bytes) { file.write(bytes); });
  manifest_.files.push_back({name, file.finish()});
  spent_ = false;  // stays set after an exception, which spends the writer
}

void CheckpointWriter::add_file(const std::string& name, std::string_view content) {
  add_file(name, [&](const ByteSink& sink) { sink(as_bytes(content)); });
}

void CheckpointWriter::add_tensors(const std::string& stem,
                                   const std::vector<TensorSource>& tensors,
                                   const std::map<std::string, std::string>& metadata,
                                   uint64_t max_shard_bytes) {
  write_safetensors_shards(
      [&](const std::string& name, const ByteProducer& content) { add_file(name, content); },
      tensors, metadata, max_shard_bytes, stem);
}

std::string CheckpointWriter::commit(int keep) {
  MOE_CHECK(keep >= 1, "[checkpoint] keep is ", keep, ", must be at least 1");
  MOE_CHECK(!std::exchange(spent_, true) && !committed_,
            "[checkpoint] this save has failed or is done; start a new one");
  HashingFile file(fs_, join_path(temporary_, kManifestName));
  file.write(as_bytes(manifest_text(manifest_)));
  file.finish();
  fs_.sync_directory(temporary_);

  const std::string final_path = path(name_);
  if (exists(final_path)) {
    // A folder cannot be renamed over another. The one moved aside still counts as this step's
    // checkpoint until the new one is in place (newest_valid_checkpoint), so there is no moment
    // without either.
    const std::string aside = path(name_ + ".old-" + unique_suffix());
    fs_.rename(final_path, aside);
    moved_aside_ = aside;
  }
  fs_.rename(temporary_, final_path);
  committed_ = true;
  try {
    fs_.sync_directory(checkpoints_folder_);
    if (!moved_aside_.empty()) remove_all(fs_, moved_aside_);
    write_file_atomic(fs_, path(kLatestName), name_ + "\n");
    prune(keep);
  } catch (const Error& error) {
    throw Error(str("[checkpoint] ", final_path, " is in place, but: ", error.what()),
                error.exit_code());
  }
  return final_path;
}

void CheckpointWriter::prune(int keep) {
  // Only older steps are judged. A newer folder is one that did not verify at resume; this run will
  // replace it.
  int kept = 1;
  std::vector<CheckpointFolder> folders = list_checkpoints(parent_path(checkpoints_folder_));
  std::reverse(folders.begin(), folders.end());
  for (const CheckpointFolder& folder : folders) {
    if (folder.step >= manifest_.step) continue;
    if (kept < keep) {
      // A damaged folder does not count, so that it never displaces a whole one.
      kept += looks_whole(folder.path) ? 1 : 0;
      continue;
    }
    // Renamed first: a removal cut short then leaves a leftover and not a damaged checkpoint.
    const std::string doomed = path(file_name(folder.path) + ".tmp-" + unique_suffix());
    fs_.rename(folder.path, doomed);
    remove_all(fs_, doomed);
  }
}

}  // namespace moe
