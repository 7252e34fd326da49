// SPDX-License-Identifier: MIT
#include "moe/data/chat_dataset.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/rng.h"
#include "moe/data/prepared_data.h"
#include "moe/data/records.h"
#include "moe/data/text_files.h"
#include "moe/io/byte_sink.h"
#include "moe/io/checksum.h"

namespace moe {

uint64_t record_hash(const Record& record) {
  if (record.is_text()) return stable_hash(record.text);
  return stable_hash(to_json_line(JsonObject{{"messages", record.messages}}));
}

EncodedChat encode_record(const Record& record, const DataConfig& config,
                          const ChatEncoder& encoder) {
  EncodedChat out;
  if (record.is_text()) {
    out.ids = encoder.tokenizer().encode(record.text);
    if (encoder.tokenizer().eos_id()) out.ids.push_back(*encoder.tokenizer().eos_id());
    out.trained.assign(out.ids.size(), 1);
    return out;
  }
  out = encoder.encode(record.messages, record.tools,
                       config.turns == "last" ? TrainedTurns::last : TrainedTurns::every);
  if (config.loss_on != "all") return out;
  // All but the answers of weight 0: those are learned when the weights are turned round.
  JsonArray turned = record.messages;
  bool any = false;
  for (Json& m : turned) {
    JsonObject& message = m.as_object();
    any = any || message.contains("weight");
    if (!message.erase("weight")) message["weight"] = 0;
  }
  out.trained.assign(out.ids.size(), 1);
  if (!any) return out;
  const EncodedChat left_out = encoder.encode(turned, record.tools, TrainedTurns::every);
  for (size_t i = 0; i < out.trained.size(); ++i) out.trained[i] = !left_out.trained[i];
  return out;
}

bool learns_something(const EncodedChat& chat) {
  const auto& trained = chat.trained;
  return trained.size() >= 2 && std::find(trained.begin() + 1, trained.end(), 1) != trained.end();
}

std::vector<std::string> record_files(const std::string& path) {
  MOE_CHECK(exists(path), "[data] ", printable(path), ": no such file or folder (data.path)");
  if (!is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const std::string& name : list_directory(path))
    if (is_record_file(name)) files.push_back(join_path(path, name));
  MOE_CHECK(!files.empty(), "[data] ", printable(path),
            ": the folder holds no .jsonl, .json, .csv or .tsv file");
  return files;
}

namespace {

struct Sample {
  uint64_t hash = 0;
  EncodedChat chat = {};
};

struct Counts {
  int64_t cut = 0, nothing_learned = 0;
};

void add_file(const std::string& path, const DataConfig& config, const ChatEncoder& encoder,
              std::vector<Sample>& samples, Counts& counts) {
  const OnError on_error = parse_on_error(config.on_error);
  const RecordFile file = read_records(path, on_error);
  if (file.n_bad > 0)
    log_warning(str("[data] ", printable(path), ": ", file.n_bad, " records are left out; first: ",
                    file.bad.empty() ? std::string("?") : file.bad[0]));
  for (const Record& record : file.records) {
    Sample sample{.hash = record_hash(record)};
    try {
      sample.chat = encode_record(record, config, encoder);
    } catch (const Error& e) {
      const std::string what =
          str("[data] ", printable(path), " line ", record.line, ": ", e.what());
      if (on_error == OnError::stop) throw Error(what);
      if (on_error == OnError::report) log_warning(what);
      continue;
    }
    const auto most = static_cast<size_t>(config.seq_len) + 1;
    if (sample.chat.ids.size() > most) {
      sample.chat.ids.resize(most);
      sample.chat.trained.resize(most);
      ++counts.cut;
    }
    if (learns_something(sample.chat))
      samples.push_back(std::move(sample));
    else
      ++counts.nothing_learned;
  }
}

std::shared_ptr<const PackedWindows> packed(const std::vector<Sample>& samples, size_t begin,
                                            size_t end, const DataConfig& config) {
  TokenSequences sequences;
  for (size_t i = begin; i < end; ++i) sequences.add(samples[i].chat.ids, samples[i].chat.trained);
  return std::make_shared<PackedWindows>(std::move(sequences), config.seq_len,
                                         chat_packing(config.packing));
}

}  // namespace

Packing chat_packing(const std::string& name) {
  if (name == "auto" || name == "best_fit") return Packing::best_fit;
  if (name == "sequential") return Packing::sequential;
  if (name == "none") return Packing::none;
  throw Error(
      "[config] data.packing=stream lets a conversation see the one before it; use best_fit, "
      "sequential or none",
      ExitCode::usage);
}

namespace {

/// Conversations that `moe data prepare` encoded.
Dataset open_chat_shards(const DataConfig& config, const ChatEncoder& encoder) {
  const PreparedData data = open_prepared(config, encoder.tokenizer());
  const std::string what = "[data] " + printable(config.path);
  MOE_CHECK(data.info.stage != "sft" ||
                data.info.chat_template == xxh3_128_hex(as_bytes(encoder.source().text)),
            what,
            ": the shards were made with another chat template than that of the run; set "
            "data.template=",
            printable(join_path(config.path, "chat_template.jinja")), " or prepare the data again");
  if (data.info.seq_len > 0 && data.info.seq_len < config.seq_len)
    log_warning(str(what, ": its conversations were cut at --seq-len ", data.info.seq_len,
                    ", less than data.seq_len=", config.seq_len));
  Dataset out;
  out.vocab_size = encoder.tokenizer().vocab_size();
  const auto windows = [&](const std::shared_ptr<const ShardStream>& stream) {
    SequencesFound found;
    auto packed = shard_windows(stream, config.seq_len, chat_packing(config.packing),
                                LongDocuments::cut_off, config.loss_on == "all", found);
    MOE_CHECK(packed, what,
              ": no conversation has a token to learn within data.seq_len=", config.seq_len,
              "; raise it, or prepare the data with --seq-len ", config.seq_len);
    if (found.cut > 0)
      log_warning(str("[data] ", found.cut, " records are longer than data.seq_len=",
                      config.seq_len, " and are cut at their end"));
    if (found.nothing_learned > 0)
      log_warning(str("[data] ", found.nothing_learned,
                      " records hold no token to learn and are left out"));
    return packed;
  };
  out.train = windows(data.train);
  out.n_train_tokens = data.train->n_tokens();
  if (!data.validation) return out;
  out.validation = windows(data.validation);
  out.n_validation_tokens = data.validation->n_tokens();
  return out;
}

/// is_part: of several sources; one conversation is then for training.
Dataset open_one(const DataConfig& config, const ChatEncoder& encoder, bool is_part) {
  if (is_prepared_data(config.path)) return open_chat_shards(config, encoder);
  std::vector<Sample> samples;
  Counts counts;
  for (const std::string& file : record_files(config.path))
    add_file(file, config, encoder, samples, counts);
  MOE_CHECK(!samples.empty(), "[data] ", printable(config.path), ": no record has a token to learn",
            counts.nothing_learned > 0
                ? str(" within data.seq_len=", config.seq_len,
                      "; raise it, or set data.loss_on=all if no assistant speaks in them")
                : std::string());
  if (counts.cut > 0)
    log_warning(str("[data] ", counts.cut, " records are longer than data.seq_len=", config.seq_len,
                    " and are cut at their end"));
  if (counts.nothing_learned > 0)
    log_warning(
        str("[data] ", counts.nothing_learned, " records hold no token to learn and are left out"));
  std::stable_sort(samples.begin(), samples.end(),
                   [](const Sample& a, const Sample& b) { return a.hash < b.hash; });
  std::vector<uint64_t> hashes;
  for (const Sample& s : samples) hashes.push_back(s.hash);
  const size_t n_validation = validation_count(hashes, config.val_fraction);
  MOE_CHECK(n_validation > 0 || config.val_fraction <= 0 || is_part, "[data] ",
            printable(config.path),
            ": one conversation cannot be split; set data.val_fraction=0 or give more");
  Dataset out;
  out.vocab_size = encoder.tokenizer().vocab_size();
  const auto train = packed(samples, n_validation, samples.size(), config);
  out.train = train;
  out.n_train_tokens = static_cast<int64_t>(train->sequences().ids.size());
  if (n_validation > 0) {
    const auto validation = packed(samples, 0, n_validation, config);
    out.validation = validation;
    out.n_validation_tokens = static_cast<int64_t>(validation->sequences().ids.size());
  }
  return out;
}

}  // namespace

Dataset open_chat_dataset(const DataConfig& config, const ChatEncoder& encoder) {
  if (config.mixture.empty()) return open_one(config, encoder, false);
  return mix_datasets(config, [&](const DataConfig& one) { return open_one(one, encoder, true); });
}

}  // namespace moe
