// SPDX-License-Identifier: MIT
// The tensors of a Hugging Face model folder: model.safetensors, or
// model-00001-of-0000N.safetensors with model.safetensors.index.json that says which tensor lies in
// which file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moe/io/byte_sink.h"
#include "moe/io/safetensors.h"
#include "moe/io/safetensors_writer.h"

namespace moe {

class SafetensorsFolder {
 public:
  struct Item {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
  };

  /// Maps the single file if there is one, else the index's. An index may name at most 1,024
  /// shards, by plain names inside the folder; every tensor of it must be in its shard, once. A
  /// tensor of a shard that the index leaves out is ignored. Throws Error otherwise, or when the
  /// folder holds only weights that are pickles.
  explicit SafetensorsFolder(const std::string& folder, const std::string& stem = "model");

  /// Sorted by name.
  const std::vector<Item>& items() const { return items_; }
  /// Null when there is no such tensor.
  const Item* find(std::string_view name) const;
  /// Throws Error when there is no such tensor.
  Tensor tensor(std::string_view name) const;
  /// Metadata of the first file.
  const std::map<std::string, std::string>& metadata() const { return files_[0]->metadata(); }
  size_t n_files() const { return files_.size(); }

 private:
  void read_index(const std::string& path);

  std::string folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::vector<Item> items_;
};

/// Hands the files to add_file: one stem.safetensors, or, when the tensors hold more than
/// max_shard_bytes together, numbered shards filled in the given order and the index. A tensor is
/// never split, so a larger one fills a shard alone.
void write_safetensors_shards(const AddFile& add_file, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              uint64_t max_shard_bytes, const std::string& stem = "model");

/// The same into an existing folder, each file atomically, the index last. Refuses a folder that
/// already has a file of this model, since old and new shards together would be read as one.
void write_safetensors_folder(Fs& fs, const std::string& folder,
                              const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              uint64_t max_shard_bytes, const std::string& stem = "model");

}  // namespace moe
