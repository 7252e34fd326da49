// SPDX-License-Identifier: MIT
// The failing file system and its model of a disk.
#include "moe/base/faulty_fs.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "moe/base/error.h"
#include "moe/base/rng.h"

namespace moe {

class FaultyFs::File : public WritableFile {
 public:
  File(FaultyFs& fs, std::string path, Inode inode, std::unique_ptr<WritableFile> real)
      : fs_(fs), path_(std::move(path)), inode_(inode), real_(std::move(real)) {}

  void write(std::span<const std::byte> bytes) override {
    if (fs_.begin("write", path_, [&] { put(bytes.first(bytes.size() / 2)); })) put(bytes);
  }
  void sync() override {
    if (!fs_.begin("sync", path_, [&] { fs_.inodes_[inode_].sync_failed = true; })) return;
    InodeState& state = fs_.inodes_[inode_];
    if (state.sync_failed) return;
    state.durable_data = state.data;
    state.truncated = false;
  }
  void close() override {
    if (fs_.begin("close", path_)) real_->close();
  }

 private:
  void put(std::span<const std::byte> bytes) {
    real_->write(bytes);
    fs_.inodes_[inode_].data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  FaultyFs& fs_;
  std::string path_;
  Inode inode_;
  std::unique_ptr<WritableFile> real_;
};

FaultyFs::FaultyFs(std::string root) : root_(std::move(root)) { load(root_, add_inode(true)); }
FaultyFs::~FaultyFs() = default;

void FaultyFs::fail_at(int64_t call, int error_number) {
  fail_call_ = call;
  error_number_ = error_number;
}

void FaultyFs::crash_at(int64_t call) { crash_call_ = call; }

template <class HalfFirst>
bool FaultyFs::begin(std::string_view action, const std::string& path, HalfFirst half_first) {
  if (crashed_) return false;
  ++n_calls_;
  if (n_calls_ == crash_call_) {
    half_first();
    crashed_ = true;
    throw SimulatedCrash{};
  }
  if (n_calls_ == fail_call_) {
    half_first();
    throw_io_error(action, path, error_number_);
  }
  return true;
}

bool FaultyFs::begin(std::string_view action, const std::string& path) {
  return begin(action, path, [] {});
}

FaultyFs::Inode FaultyFs::add_inode(bool is_directory) {
  inodes_.push_back({.is_directory = is_directory,
                     .data = {},
                     .durable_data = {},
                     .entries = {},
                     .durable_entries = {}});
  return static_cast<Inode>(inodes_.size()) - 1;
}

void FaultyFs::load(const std::string& path, Inode directory) {
  for (const std::string& name : list_directory(path)) {
    const std::string child_path = join_path(path, name);
    const Inode child = add_inode(moe::is_directory(child_path));
    if (inodes_[child].is_directory)
      load(child_path, child);
    else
      inodes_[child].data = inodes_[child].durable_data = read_file(child_path);
    inodes_[directory].entries[name] = inodes_[directory].durable_entries[name] = child;
  }
}

std::pair<FaultyFs::Inode, std::string> FaultyFs::parent_and_name(const std::string& path) const {
  return {find(parent_path(path)), file_name(path)};
}

FaultyFs::Inode FaultyFs::find(const std::string& path) const {
  MOE_CHECK(path == root_ || path.starts_with(root_ + "/"), "[faulty fs] ", path, " is not in ",
            root_);
  Inode inode = 0;
  for (const std::string& name : split(path.substr(root_.size()), '/')) {
    if (name.empty()) continue;
    const auto entry = inodes_[inode].entries.find(name);
    if (entry == inodes_[inode].entries.end()) return kNone;
    inode = entry->second;
  }
  return inode;
}

void FaultyFs::change(Operation operation) {
  for (const Change& c : operation) {
    Entries& entries = inodes_[c.directory].entries;
    if (c.inode == kNone)
      entries.erase(c.name);
    else
      entries[c.name] = c.inode;
  }
  pending_.push_back(std::move(operation));
}

std::unique_ptr<WritableFile> FaultyFs::open(const std::string& path, bool truncate) {
  if (!begin("create", path)) return std::make_unique<File>(*this, path, kNone, nullptr);
  auto real = truncate ? real_fs().create(path) : real_fs().append(path);
  Inode inode = find(path);
  if (inode == kNone) {
    inode = add_inode(false);
    const auto [parent, name] = parent_and_name(path);
    change({{parent, name, inode}});
  } else if (truncate) {
    inodes_[inode].data.clear();
    inodes_[inode].truncated = true;
  }
  return std::make_unique<File>(*this, path, inode, std::move(real));
}

std::unique_ptr<WritableFile> FaultyFs::create(const std::string& path) { return open(path, true); }
std::unique_ptr<WritableFile> FaultyFs::append(const std::string& path) {
  return open(path, false);
}

void FaultyFs::rename(const std::string& from, const std::string& to) {
  if (!begin("rename " + from + " to", to)) return;
  real_fs().rename(from, to);
  const auto [from_parent, from_name] = parent_and_name(from);
  const auto [to_parent, to_name] = parent_and_name(to);
  change({{from_parent, from_name, kNone}, {to_parent, to_name, find(from)}});
}

void FaultyFs::remove_file(const std::string& path) {
  if (!begin("remove", path)) return;
  real_fs().remove_file(path);
  if (find(path) == kNone) return;
  const auto [parent, name] = parent_and_name(path);
  change({{parent, name, kNone}});
}

void FaultyFs::make_directory(const std::string& path) {
  if (!begin("make the folder", path)) return;
  real_fs().make_directory(path);
  if (find(path) != kNone) return;
  const auto [parent, name] = parent_and_name(path);
  change({{parent, name, add_inode(true)}});
}

void FaultyFs::remove_directory(const std::string& path) {
  if (!begin("remove the folder", path)) return;
  real_fs().remove_directory(path);
  if (find(path) == kNone) return;
  const auto [parent, name] = parent_and_name(path);
  change({{parent, name, kNone}});
}

void FaultyFs::sync_directory(const std::string& path) {
  if (!begin("sync the folder", path)) return;
  const Inode directory = find(path);
  if (directory == kNone) throw_io_error("open the folder", path, ENOENT);
  std::vector<Operation> later;
  std::set<std::pair<Inode, std::string>> settled;
  // Newest first: an older change of an entry that a newer one has settled is history.
  for (auto operation = pending_.rbegin(); operation != pending_.rend(); ++operation) {
    std::erase_if(*operation, [&](const Change& c) {
      return settled.contains({c.directory, c.name});
    });
    const bool is_here = std::any_of(operation->begin(), operation->end(),
                                     [&](const Change& c) { return c.directory == directory; });
    if (!is_here) {
      if (!operation->empty()) later.push_back(std::move(*operation));
      continue;
    }
    for (const Change& c : *operation) {
      settled.insert({c.directory, c.name});
      Entries& entries = inodes_[c.directory].durable_entries;
      if (c.inode == kNone)
        entries.erase(c.name);
      else
        entries[c.name] = c.inode;
    }
  }
  pending_.assign(std::make_move_iterator(later.rbegin()), std::make_move_iterator(later.rend()));
}

std::string FaultyFs::data_after_power_cut(Inode inode, uint64_t seed) const {
  const InodeState& state = inodes_[inode];
  if (seed == 0 || state.data == state.durable_data) return state.durable_data;
  if (seed == 1) return state.data;
  const RngStream stream(seed, 0, "power cut: data", inode);
  const size_t safe = state.truncated ? 0 : state.durable_data.size();
  const size_t cut = safe + static_cast<size_t>(stream.below(state.data.size() - safe + 1, 0, 0));
  switch (stream.below(4, 1, 0)) {
    case 0: return state.durable_data;
    case 1: return state.data;
    case 2: return state.data.substr(0, cut);
    // The new size has reached the disk, the last blocks have not.
    default: return state.data.substr(0, cut) + std::string(state.data.size() - cut, '\0');
  }
}

void FaultyFs::materialise(const std::string& real_directory, uint64_t seed) const {
  std::vector<Entries> entries;
  for (const InodeState& state : inodes_) entries.push_back(state.durable_entries);
  const RngStream stream(seed, 0, "power cut: entries");
  // Some runs keep almost everything, some almost nothing.
  const double keep = seed == 0 ? 0 : seed == 1 ? 1 : 0.1 + 0.8 * stream.uniform(-1, 0);
  // Changes of different entries commute, so a subset in this order is any order that keeps each
  // entry's own.
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (stream.uniform(static_cast<int64_t>(i), 0) >= keep) continue;
    for (const Change& c : pending_[i]) {
      if (c.inode == kNone)
        entries[c.directory].erase(c.name);
      else
        entries[c.directory][c.name] = c.inode;
    }
  }
  const auto write = [&](const auto& self, const std::string& path, Inode directory) -> void {
    real_fs().make_directory(path);
    for (const auto& [name, child] : entries[directory]) {
      const std::string child_path = join_path(path, name);
      if (inodes_[child].is_directory) {
        self(self, child_path, child);
        continue;
      }
      const auto file = real_fs().create(child_path);
      const std::string data = data_after_power_cut(child, seed);
      file->write(std::as_bytes(std::span(data)));
      file->close();
    }
  };
  MOE_CHECK(!exists(real_directory), "[faulty fs] ", real_directory, " exists already");
  write(write, real_directory, 0);
}

}  // namespace moe
