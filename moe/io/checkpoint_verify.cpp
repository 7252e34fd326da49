// SPDX-License-Identifier: MIT
// Finding and verifying checkpoints (see checkpoint.h).
#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/mmap_file.h"
#include "moe/base/parallel.h"
#include "moe/base/str.h"
#include "moe/io/checkpoint.h"
#include "moe/io/checkpoint_name.h"
#include "moe/io/checksum.h"
#include "moe/io/safetensors.h"

namespace moe {
namespace {

constexpr size_t kMaxProblems = 64;
constexpr size_t kMaxTensorsNamed = 64;

/// Adds a tensor to the list, or counts it where the list is full.
class NamedTensors {
 public:
  explicit NamedTensors(CheckpointProblem& problem) : problem_(problem) {}
  void add(const SafetensorsEntry& entry) {
    if (n_++ < kMaxTensorsNamed) problem_.tensors.push_back(entry.name);
  }
  size_t count() const { return n_; }
  void finish() const {
    if (n_ > kMaxTensorsNamed)
      problem_.reason += str("; and ", n_ - kMaxTensorsNamed, " more tensors");
  }

 private:
  CheckpointProblem& problem_;
  size_t n_ = 0;
};

/// Names exactly what is damaged in a safetensors file by the checksums of its parts: the header
/// (whose tensors then cannot be told apart), or tensors. `bytes` may be shorter or longer than
/// checksum.bytes.
void name_parts(std::span<const std::byte> bytes, const FileChecksum& checksum,
                CheckpointProblem& problem) {
  const std::string what = "[safetensors] " + problem.file;
  std::optional<SafetensorsLayout> layout;
  try {
    layout = read_safetensors_layout(bytes, checksum.bytes, what);
  } catch (const Error&) {  // a damaged header
  }
  if (!layout || xxh3_64(bytes.first(layout->header_end)) != checksum.parts->header) {
    problem.offset = 0;
    problem.reason += "; its header is damaged, so no tensor of it can be found";
    return;
  }
  NamedTensors damaged(problem);
  for (size_t i = 0; i < layout->entries.size(); ++i) {
    const SafetensorsEntry& entry = layout->entries[i];
    const bool is_whole =
        i < checksum.parts->tensors.size() && entry.offset + entry.bytes <= bytes.size() &&
        xxh3_64(bytes.subspan(entry.offset, entry.bytes)) == checksum.parts->tensors[i];
    if (is_whole) continue;
    if (damaged.count() == 0 && bytes.size() == checksum.bytes) problem.offset = entry.offset;
    damaged.add(entry);
  }
  damaged.finish();
}

/// Without checksums of the parts: the tensors that touch a damaged block, damaged or not.
void name_tensors_of_blocks(const std::string& path, const std::vector<bool>& damaged,
                            CheckpointProblem& problem) {
  try {
    const SafetensorsFile file(path);
    NamedTensors touched(problem);
    for (const SafetensorsEntry& entry : file.entries()) {
      bool hit = false;
      for (uint64_t block = entry.offset / FileChecksum::kBlockBytes;
           !hit && block * FileChecksum::kBlockBytes < entry.offset + entry.bytes; ++block)
        hit = damaged[block];
      if (hit) touched.add(entry);
    }
    touched.finish();
    if (touched.count() > 0) problem.reason += "; one or more of the tensors are damaged";
  } catch (const Error& error) {
    problem.reason += str("; ", error.what());
  }
}

CheckpointProblem problem_at(const std::string& file, uint64_t offset, std::string reason) {
  return {.file = file, .offset = offset, .reason = std::move(reason), .tensors = {}};
}

/// Appends at most one problem.
void verify_file(const std::string& folder, const Manifest::File& wanted,
                 std::vector<CheckpointProblem>& problems) {
  const std::string path = join_path(folder, wanted.name);
  const FileChecksum& checksum = wanted.checksum;
  if (!exists(path)) {
    problems.push_back(problem_at(wanted.name, 0, "the file is missing"));
    return;
  }
  const MmapFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() != checksum.bytes) {
    problems.push_back(problem_at(
        wanted.name, std::min<uint64_t>(bytes.size(), checksum.bytes),
        str("the file has ", bytes.size(), " bytes, the manifest says ", checksum.bytes)));
    if (checksum.parts)
      name_parts(bytes, checksum, problems.back());
    else if (ends_with(path, ".safetensors"))
      name_tensors_of_blocks(path, std::vector<bool>(bytes.size() / FileChecksum::kBlockBytes + 1),
                             problems.back());
    return;
  }
  // The whole file and, to say where it differs, each block: jobs for all threads.
  const size_t n_blocks = checksum.blocks_xxh3_64.size();
  bool is_whole = false;
  std::vector<char> differs(n_blocks);
  parallel_for(int64_t(n_blocks) + 1, 1, [&](int64_t first_job, int64_t end) {
    for (size_t job = size_t(first_job); job < size_t(end); ++job) {
      if (job == 0) {
        is_whole = xxh3_128_hex(bytes) == checksum.xxh3_128;
        continue;
      }
      const size_t begin = (job - 1) * FileChecksum::kBlockBytes;
      const size_t n = std::min<size_t>(FileChecksum::kBlockBytes, bytes.size() - begin);
      differs[job - 1] = xxh3_64(bytes.subspan(begin, n)) != checksum.blocks_xxh3_64[job - 1];
    }
  });
  const std::vector<bool> damaged(differs.begin(), differs.end());
  if (is_whole && std::find(damaged.begin(), damaged.end(), true) == damaged.end()) return;
  const auto first = size_t(std::find(damaged.begin(), damaged.end(), true) - damaged.begin());
  const auto n_damaged = std::count(damaged.begin(), damaged.end(), true);
  problems.push_back(problem_at(wanted.name,
                                first == damaged.size() ? 0 : first * FileChecksum::kBlockBytes,
                                str("the content differs from its checksum in ", n_damaged, " of ",
                                    damaged.size(), " blocks of 1 MiB")));
  if (checksum.parts)
    name_parts(bytes, checksum, problems.back());
  else if (ends_with(path, ".safetensors"))
    name_tensors_of_blocks(path, damaged, problems.back());
}

}  // namespace

std::string CheckpointProblem::text() const {
  std::string line = str(printable(file), ": at byte ", offset, ": ", reason);
  for (size_t i = 0; i < tensors.size(); ++i)
    line += str(i ? ", " : "; tensors: ", printable(tensors[i]));
  return line;
}

std::vector<CheckpointProblem> verify_checkpoint(const std::string& folder,
                                                 const FileFilter& matters) {
  std::vector<CheckpointProblem> problems;
  /// An Error of a check is a problem of that file.
  const auto check = [&](std::string_view file, const auto& checks) {
    try {
      checks();
    } catch (const Error& error) {
      problems.push_back(problem_at(std::string(file), 0, error.what()));
    }
  };
  check(kManifestName, [&] {
    const Manifest manifest = read_manifest(folder);
    const auto name = parse_checkpoint_name(file_name(folder));
    MOE_CHECK(!name || name->step == manifest.step, "it is of step ", manifest.step,
              ", not of the folder's");
    for (const Manifest::File& wanted : manifest.files)
      if (problems.size() < kMaxProblems && (!matters || matters(wanted.name)))
        check(wanted.name, [&] { verify_file(folder, wanted, problems); });
  });
  return problems;
}

std::vector<CheckpointFolder> list_checkpoints(const std::string& run_folder) {
  const std::string folder = checkpoints_folder(run_folder);
  std::vector<CheckpointFolder> found;
  if (!is_directory(folder)) return found;
  for (const std::string& name : list_directory(folder))
    if (const auto parsed = parse_checkpoint_name(name);
        parsed && parsed->kind == CheckpointName::Kind::final)
      found.push_back({join_path(folder, name), parsed->step});
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

NewestCheckpoint newest_valid_checkpoint(const std::string& run_folder, const FileFilter& matters) {
  std::vector<CheckpointFolder> candidates = list_checkpoints(run_folder);
  // Those that were moved aside for a save of the same step come right behind that step's own
  // folder.
  const std::string folder = checkpoints_folder(run_folder);
  if (is_directory(folder))
    for (const std::string& name : list_directory(folder))
      if (const auto parsed = parse_checkpoint_name(name);
          parsed && parsed->kind == CheckpointName::Kind::moved_aside)
        candidates.push_back({join_path(folder, name), parsed->step});
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.step > b.step; });

  NewestCheckpoint newest;
  for (const CheckpointFolder& candidate : candidates) {
    const std::vector<CheckpointProblem> problems = verify_checkpoint(candidate.path, matters);
    if (problems.empty()) {
      newest.path = candidate.path;
      newest.step = candidate.step;
      return newest;
    }
    newest.skipped.push_back(
        {candidate.path,
         problems[0].text() +
             (problems.size() > 1 ? str("; and ", problems.size() - 1, " more problems") : "")});
  }
  return newest;
}

}  // namespace moe
