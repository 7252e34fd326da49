// SPDX-License-Identifier: MIT
// A folder of token shards that `moe data prepare` made: shards.json, tokenizer.json, of chats
// chat_template.jinja, and the shards of both splits (moe/io/shard_file.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "moe/data/data_config.h"
#include "moe/data/packed_windows.h"
#include "moe/io/shard_file.h"
#include "moe/text/tokenizer.h"

namespace moe {

inline constexpr const char* kShardsName = "shards.json";

struct PreparedPart {
  int64_t documents = 0, tokens = 0, trained = 0;
  std::vector<ShardSummary> shards = {};
};

/// What shards.json says.
struct PreparedInfo {
  std::string stage = "pretrain";  // pretrain: texts; sft: conversations, with masks
  ShardFormat format = {};
  double val_fraction = 0, fim_rate = 0;
  int64_t seq_len = 0;  // conversations are cut at so many tokens and one; 0: whole
  int64_t seed = 1;     // of the draws of fim_rate
  std::string loss_on = "assistant", turns = "every";
  std::string chat_template = {};       // xxh3_128 of its text, "" of texts
  std::vector<std::string> files = {};  // that were read, names without folders
  PreparedPart train = {}, validation = {};
};

/// Whether the path is a folder with a shards.json in it.
bool is_prepared_data(const std::string& path);
/// Throws Error when shards.json is missing, was changed, or says what cannot be.
PreparedInfo read_prepared_info(const std::string& folder);
/// Reads back to the same; the last line is a checksum of the others.
std::string prepared_info_text(const PreparedInfo& info);
PreparedInfo parse_prepared_info(const std::string& text, const std::string& what);

/// The hash that stands in shards for what the ids mean.
std::string vocabulary_hash(const Tokenizer& tokenizer);

/// The first of data.path or the sources of data.mixture that is prepared; "" when none is.
std::string prepared_path(const DataConfig& config);
/// Keys of a configuration that the folder answers, for those that nobody set: data.tokenizer,
/// data.template, data.turns, data.loss_on.
void take_prepared_keys(const ConfigTable& table, DataConfig& config);

/// The mapped shards of one split as one stream of tokens.
class ShardStream {
 public:
  ShardStream(const std::string& folder, const PreparedInfo& info, const PreparedPart& part);
  int64_t n_tokens() const { return begins_.back(); }
  void read(int64_t begin, std::span<int32_t> out) const;
  bool trained(int64_t token) const;
  /// Calls visit(begin, n) for each document, whatever shards it lies in.
  void for_each_document(const std::function<void(int64_t, int64_t)>& visit) const;
  /// Reads everything; throws Error at the first shard that is damaged.
  void verify() const;

 private:
  size_t shard_of(int64_t token) const;

  std::vector<std::unique_ptr<ShardFile>> shards_;
  std::vector<int64_t> begins_ = {0};  // of the shards, and the number of tokens
};

/// Shards that a run reads: checked against the configuration (the tokenizer, data.turns,
/// data.loss_on, data.fim_rate) and verified. Throws Error with one line.
struct PreparedData {
  PreparedInfo info;
  std::shared_ptr<const ShardStream> train, validation;  // validation: null when there is none
};
PreparedData open_prepared(const DataConfig& config, const Tokenizer& tokenizer);

/// data.tokenizer of a run on prepared data; "char" is the one that lies in the folder data.path.
std::shared_ptr<const Tokenizer> open_prepared_tokenizer(const DataConfig& config);

/// Windows of whole documents, read from mapped shards. Each is a sequence of its own; how those
/// that are longer than a window are cut:
enum class LongDocuments { cut_off, go_on };
struct SequencesFound {
  int64_t documents = 0, cut = 0, nothing_learned = 0;
};
std::shared_ptr<const Windows> shard_windows(std::shared_ptr<const ShardStream> stream,
                                             int64_t seq_len, Packing packing, LongDocuments longer,
                                             bool all_trained, SequencesFound& found);

}  // namespace moe
