// SPDX-License-Identifier: MIT
// Sharded model folders (see safetensors_folder.h). Shard names and filling order are those of
// huggingface_hub's split_state_dict_into_shards.
#include "moe/io/safetensors_folder.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/mmap_file.h"
#include "moe/base/str.h"
#include "moe/io/json_scanner.h"

namespace moe {
namespace {

constexpr size_t kMaxShards = 1024;  // the largest open models have a few hundred
constexpr size_t kMaxNameBytes = 256;

/// Begin of each shard in the list of tensors.
std::vector<size_t> shard_begins(const std::vector<TensorSource>& tensors,
                                 uint64_t max_shard_bytes) {
  std::vector<size_t> begins = {0};
  uint64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (bytes > 0 && bytes + tensors[i].bytes() > max_shard_bytes) {
      begins.push_back(i);
      bytes = 0;
    }
    bytes += tensors[i].bytes();
  }
  return begins;
}

}  // namespace

SafetensorsFolder::SafetensorsFolder(const std::string& folder, const std::string& stem)
    : folder_(folder) {
  const std::string single = join_path(folder, stem + ".safetensors");
  const std::string index = single + ".index.json";
  if (exists(single)) {
    files_.push_back(std::make_unique<SafetensorsFile>(single));
    items_.reserve(files_[0]->entries().size());
    for (const SafetensorsEntry& entry : files_[0]->entries())
      items_.push_back({files_[0].get(), &entry});
    return;
  }
  MOE_CHECK(is_directory(folder), "[safetensors] ", folder, ": there is no such folder");
  if (!exists(index)) {
    for (const std::string& name : list_directory(folder))
      MOE_CHECK(!ends_with(name, ".bin") && !ends_with(name, ".pt") && !ends_with(name, ".pth"),
                "[safetensors] ", folder, ": its weights (", printable(name),
                ") are a Python pickle, which can run code when read; save them in Python with "
                "safetensors.torch.save_file or model.save_pretrained(safe_serialization=True)");
    throw Error(str("[safetensors] ", folder, ": it holds neither ", stem, ".safetensors nor ",
                    stem, ".safetensors.index.json"));
  }
  read_index(index);
}

void SafetensorsFolder::read_index(const std::string& path) {
  const MmapFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  // A member takes at least 8 bytes ("a":"b",): a bound that keeps a hostile index from growing the
  // list past twice it.
  const auto colons = size_t(std::count(text.begin(), text.end(), ':'));
  items_.reserve(std::min(colons, text.size() / 8 + 1));
  JsonScanner json(text, str("[safetensors index] ", path));
  std::map<std::string, const SafetensorsFile*> shards;
  const auto read_weight_map = [&] {
    json.begin_object();
    std::string name;
    while (json.next_key(name, kMaxNameBytes)) {
      const std::string shard = json.string(kMaxNameBytes);
      auto known = shards.find(shard);
      if (known == shards.end()) {
        if (!is_plain_file_name(shard))
          json.fail(str("'", printable(shard), "' is not the name of a file inside the folder"));
        if (shards.size() == kMaxShards) json.fail(str("more than ", kMaxShards, " shards"));
        files_.push_back(std::make_unique<SafetensorsFile>(join_path(folder_, shard)));
        known = shards.emplace(shard, files_.back().get()).first;
      }
      const SafetensorsEntry* entry = known->second->find(name);
      if (!entry)
        json.fail(str("tensor '", printable(name), "' is not in '", printable(shard),
                      "', where the index puts it; download the folder again"));
      items_.push_back({known->second, entry});
    }
  };
  json.begin_object();
  bool has_weight_map = false, has_metadata = false;
  std::string key;
  while (json.next_key(key, kMaxNameBytes)) {
    if (key != "weight_map") {
      if (key == "metadata" && std::exchange(has_metadata, true))
        json.fail("metadata occurs twice");
      json.skip_value();
      continue;
    }
    if (std::exchange(has_weight_map, true)) json.fail("weight_map occurs twice");
    read_weight_map();
  }
  json.finish();
  if (files_.empty()) json.fail("there is no weight_map, or it is empty");
  std::sort(items_.begin(), items_.end(),
            [](const Item& a, const Item& b) { return a.entry->name < b.entry->name; });
  const auto twice = std::adjacent_find(
      items_.begin(), items_.end(),
      [](const Item& a, const Item& b) { return a.entry->name == b.entry->name; });
  if (twice != items_.end())
    json.fail(str("tensor '", printable(twice->entry->name), "' occurs twice in weight_map"));
}

const SafetensorsFolder::Item* SafetensorsFolder::find(std::string_view name) const {
  const auto at = std::lower_bound(
      items_.begin(), items_.end(), name,
      [](const Item& item, std::string_view wanted) { return item.entry->name < wanted; });
  return at != items_.end() && at->entry->name == name ? &*at : nullptr;
}

Tensor SafetensorsFolder::tensor(std::string_view name) const {
  const Item* item = find(name);
  MOE_CHECK(item, "[safetensors] ", folder_, ": there is no tensor '", printable(name),
            "' among its ", items_.size());
  return item->file->tensor(*item->entry);
}

void write_safetensors_shards(const AddFile& add_file, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              uint64_t max_shard_bytes, const std::string& stem) {
  const auto add_shard = [&](const std::string& name, size_t begin, size_t end) {
    add_file(name, [&](const ByteSink& sink) {
      write_safetensors(sink, {tensors.begin() + begin, tensors.begin() + end}, metadata);
    });
  };
  const std::vector<size_t> begins = shard_begins(tensors, max_shard_bytes);
  if (begins.size() == 1) return add_shard(stem + ".safetensors", 0, tensors.size());

  uint64_t total_bytes = 0;
  std::map<std::string, std::string> weight_map;
  for (size_t i = 0; i < begins.size(); ++i) {
    const size_t end = i + 1 < begins.size() ? begins[i + 1] : tensors.size();
    const std::string name =
        fmt::format("{}-{:05d}-of-{:05d}.safetensors", stem, i + 1, begins.size());
    add_shard(name, begins[i], end);
    for (size_t t = begins[i]; t < end; ++t) {
      MOE_CHECK(weight_map.emplace(tensors[t].name, name).second,
                "[safetensors] two tensors to be written are called '", printable(tensors[t].name),
                "'");
      total_bytes += tensors[t].bytes();
    }
  }
  std::string index =
      str("{\n  \"metadata\": {\n    \"total_size\": ", total_bytes, "\n  },\n  \"weight_map\": {");
  char separator = '\n';
  for (const auto& [name, shard] : weight_map) {
    index += separator == ',' ? ",\n    " : "\n    ";
    append_json_string(index, name);
    index += ": ";
    append_json_string(index, shard);
    separator = ',';
  }
  index += "\n  }\n}\n";
  add_file(stem + ".safetensors.index.json", [&](const ByteSink& sink) { sink(as_bytes(index)); });
}

void write_safetensors_folder(Fs& fs, const std::string& folder,
                              const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              uint64_t max_shard_bytes, const std::string& stem) {
  for (const std::string& name : list_directory(folder))
    MOE_CHECK(!starts_with(name, stem) || name.find(".safetensors") == std::string::npos,
              "[safetensors] ", folder, ": it already holds ", printable(name),
              "; give an empty folder");
  write_safetensors_shards(
      [&](const std::string& name, const ByteProducer& content) {
        write_file_streaming(fs, join_path(folder, name), content);
      },
      tensors, metadata, max_shard_bytes, stem);
}

}  // namespace moe
