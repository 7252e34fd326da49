// SPDX-License-Identifier: MIT
#include "moe/data/record_spool.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "moe/base/mmap_file.h"
#include "moe/base/str.h"

namespace moe {
namespace {

/// What stands before a payload.
struct Head {
  uint64_t hash;
  uint32_t kind, file;
  int64_t line;
  uint64_t size;
};

}  // namespace

RecordSpool::RecordSpool(Fs& fs, std::string folder, uint64_t max_memory)
    : fs_(fs), folder_(std::move(folder)), max_memory_(max_memory) {}

RecordSpool::~RecordSpool() = default;

std::string RecordSpool::path(size_t part) const { return join_path(folder_, str("spool-", part)); }

void RecordSpool::add(const Entry& entry) {
  const Head head{entry.hash, entry.kind, entry.file, entry.line, entry.payload.size()};
  std::string& part = parts_[entry.hash >> 56];
  part.append(reinterpret_cast<const char*>(&head), sizeof(head)).append(entry.payload);
  in_memory_ += sizeof(head) + entry.payload.size();
  bytes_ += sizeof(head) + entry.payload.size();
  largest_hash_ = std::max(largest_hash_, entry.hash);
  ++count_;
  if (in_memory_ > max_memory_) flush();
}

void RecordSpool::flush() {
  for (size_t p = 0; p < kParts; ++p) {
    if (parts_[p].empty()) continue;
    if (!files_[p]) files_[p] = fs_.create(path(p));
    files_[p]->write(std::as_bytes(std::span(parts_[p])));
    parts_[p] = std::string();
  }
  in_memory_ = 0;
}

void RecordSpool::for_each_part(const std::function<void(std::span<const Entry>)>& visit_part) {
  for (size_t p = 0; p < kParts; ++p) {
    std::unique_ptr<MmapFile> mapped;
    std::string_view bytes = parts_[p];
    if (files_[p]) {
      files_[p]->write(std::as_bytes(std::span(parts_[p])));
      files_[p]->close();
      files_[p].reset();
      parts_[p] = std::string();
      mapped = std::make_unique<MmapFile>(path(p));
      bytes = {reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()};
    }
    std::vector<Entry> entries;
    for (size_t at = 0; at < bytes.size();) {
      Head head;
      std::memcpy(&head, bytes.data() + at, sizeof(head));
      at += sizeof(head);
      entries.push_back({head.hash, head.kind, head.file, head.line, bytes.substr(at, head.size)});
      at += head.size;
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
    if (!entries.empty()) visit_part(entries);
    parts_[p] = std::string();
    if (mapped) {
      mapped.reset();
      fs_.remove_file(path(p));
    }
  }
}

}  // namespace moe
