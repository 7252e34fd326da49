// SPDX-License-Identifier: MIT
#include "moe/data/prepared_data.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/base/parallel.h"
#include "moe/io/byte_sink.h"
#include "moe/io/checksum.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"

namespace moe {
namespace {

constexpr std::string_view kFormat = "moe.cpp token shards";
constexpr int64_t kVersion = 1;
constexpr uint64_t kMaxInfoBytes = uint64_t{64} << 20;

// The end of shards.json; the checksum covers what comes before it.
constexpr std::string_view kTailBegin = ",\n  \"xxh3_128\": \"", kTailEnd = "\"\n}\n";
constexpr size_t kTailBytes = kTailBegin.size() + 32 + kTailEnd.size();

std::string tail(std::string_view body) {
  return str(kTailBegin, xxh3_128_hex(as_bytes(body)), kTailEnd);
}

JsonObject part_json(const PreparedPart& part) {
  JsonArray shards;
  for (const ShardSummary& s : part.shards)
    shards.push_back(JsonObject{{"name", s.name},
                                {"bytes", s.bytes},
                                {"documents", s.documents},
                                {"tokens", s.tokens},
                                {"trained", s.trained},
                                {"xxh3_128", s.xxh3_128}});
  return {{"documents", part.documents},
          {"tokens", part.tokens},
          {"trained", part.trained},
          {"shards", std::move(shards)}};
}

const JsonObject& object_at(const JsonReader& reader, std::string_view key) {
  const JsonObject* object = reader.at(key).if_object();
  MOE_CHECK(object, reader.what(), ": '", key, "' is no object");
  return *object;
}

PreparedPart read_part(const JsonReader& info, std::string_view key) {
  const JsonReader reader(object_at(info, key), info.what());
  PreparedPart part{.documents = reader.integer("documents"),
                    .tokens = reader.integer("tokens"),
                    .trained = reader.integer("trained")};
  const JsonArray* shards = reader.at("shards").if_array();
  MOE_CHECK(shards, info.what(), ": 'shards' is no list");
  int64_t tokens = 0;
  for (const Json& json : *shards) {
    MOE_CHECK(json.is_object(), info.what(), ": a shard is no object");
    const JsonReader shard(json.as_object(), info.what());
    part.shards.push_back({.name = shard.string("name"),
                           .bytes = shard.integer("bytes"),
                           .tokens = shard.integer("tokens"),
                           .documents = shard.integer("documents"),
                           .trained = shard.integer("trained"),
                           .xxh3_128 = shard.string("xxh3_128")});
    const ShardSummary& s = part.shards.back();
    MOE_CHECK(is_plain_file_name(s.name), info.what(), ": '", printable(s.name),
              "' is not the name of a file inside the folder");
    MOE_CHECK(s.tokens >= 1 && s.tokens <= (int64_t{1} << 48), info.what(), ": ", s.name, " has ",
              s.tokens, " tokens");
    tokens += s.tokens;
    MOE_CHECK(tokens <= (int64_t{1} << 52), info.what(), ": more tokens than can be");
  }
  MOE_CHECK(tokens == part.tokens && part.documents >= 0, info.what(), ": ", part.tokens,
            " tokens, but its shards have ", tokens);
  return part;
}

}  // namespace

bool is_prepared_data(const std::string& path) {
  return is_directory(path) && exists(join_path(path, kShardsName));
}

std::string prepared_info_text(const PreparedInfo& info) {
  JsonArray files;
  for (const std::string& name : info.files) files.push_back(Json(name));
  std::string text = to_json_pretty(JsonObject{{"format", kFormat},
                                               {"version", kVersion},
                                               {"stage", info.stage},
                                               {"files", std::move(files)},
                                               {"id_bytes", info.format.id_bytes},
                                               {"vocab_size", info.format.vocab_size},
                                               {"vocabulary", info.format.vocabulary},
                                               {"has_mask", info.format.has_mask},
                                               {"val_fraction", info.val_fraction},
                                               {"fim_rate", info.fim_rate},
                                               {"seed", info.seed},
                                               {"seq_len", info.seq_len},
                                               {"loss_on", info.loss_on},
                                               {"turns", info.turns},
                                               {"chat_template", info.chat_template},
                                               {"train", part_json(info.train)},
                                               {"validation", part_json(info.validation)}});
  text.resize(text.rfind('}'));
  while (ends_with(text, "\n")) text.pop_back();
  return text + tail(text);
}

PreparedInfo parse_prepared_info(const std::string& text, const std::string& what) {
  MOE_CHECK(text.size() >= kTailBytes, what, ": it is cut short (", text.size(), " bytes)");
  const std::string_view body = std::string_view(text).substr(0, text.size() - kTailBytes);
  MOE_CHECK(std::string_view(text).substr(body.size()) == tail(body), what,
            ": it differs from its own checksum, so it is damaged or was edited; prepare the data "
            "again");
  const Json json = parse_json(text, what, 32);
  MOE_CHECK(json.is_object(), what, ": is no object");
  const JsonReader reader(json.as_object(), what);
  MOE_CHECK(reader.string("format") == kFormat, what, ": is no list of token shards");
  MOE_CHECK(reader.integer("version") == kVersion, what, ": version ", reader.integer("version"),
            ", this program reads version ", kVersion);
  PreparedInfo info{.stage = reader.string("stage"),
                    .val_fraction = reader.number("val_fraction"),
                    .fim_rate = reader.number("fim_rate"),
                    .seq_len = reader.integer("seq_len"),
                    .seed = reader.integer("seed"),
                    .loss_on = reader.string("loss_on"),
                    .turns = reader.string("turns"),
                    .chat_template = reader.string("chat_template")};
  MOE_CHECK(info.stage == "pretrain" || info.stage == "sft", what, ": stage '",
            printable(info.stage, 20), "' is neither pretrain nor sft");
  info.format = {.id_bytes = int(reader.integer("id_bytes") & 0xFF),
                 .vocab_size = reader.integer("vocab_size"),
                 .vocabulary = reader.string("vocabulary"),
                 .has_mask = reader.boolean("has_mask")};
  const JsonArray* files = reader.at("files").if_array();
  MOE_CHECK(files, what, ": 'files' is no list");
  for (const Json& file : *files) {
    MOE_CHECK(file.is_string(), what, ": 'files' holds something that is no text");
    info.files.emplace_back(file.as_string());
  }
  info.train = read_part(reader, "train");
  info.validation = read_part(reader, "validation");
  MOE_CHECK(!info.train.shards.empty(), what, ": it has no shard to train on");
  return info;
}

PreparedInfo read_prepared_info(const std::string& folder) {
  const std::string path = join_path(folder, kShardsName);
  return parse_prepared_info(read_file(path, kMaxInfoBytes), "[shards] " + printable(path));
}

std::string vocabulary_hash(const Tokenizer& tokenizer) {
  return xxh3_128_hex(as_bytes(tokenizer_to_json(tokenizer)));
}

std::string prepared_path(const DataConfig& config) {
  for (const std::string& path : config.paths())
    if (is_prepared_data(path)) return path;
  return "";
}

void take_prepared_keys(const ConfigTable& table, DataConfig& config) {
  const std::string folder = prepared_path(config);
  if (folder.empty()) return;
  const PreparedInfo info = read_prepared_info(folder);
  if (!table.was_set("data.tokenizer") && config.tokenizer == DataConfig().tokenizer)
    config.tokenizer = join_path(folder, "tokenizer.json");
  if (info.stage != "sft") return;
  if (!table.was_set("data.template"))
    config.chat_template = join_path(folder, "chat_template.jinja");
  if (!table.was_set("data.turns")) config.turns = info.turns;
  if (!table.was_set("data.loss_on")) config.loss_on = info.loss_on;
}

std::shared_ptr<const Tokenizer> open_prepared_tokenizer(const DataConfig& config) {
  if (config.tokenizer == "byte") return make_byte_tokenizer();
  if (config.tokenizer == "char") return read_tokenizer(join_path(config.path, "tokenizer.json"));
  MOE_CHECK(exists(config.tokenizer), "[data] tokenizer '", printable(config.tokenizer),
            "' is neither byte nor char, and no such file exists (data.tokenizer)");
  return read_tokenizer(config.tokenizer);
}

// ---- shards -----------------------------------------------------------------------------

ShardStream::ShardStream(const std::string& folder, const PreparedInfo& info,
                         const PreparedPart& part) {
  for (const ShardSummary& s : part.shards) {
    auto file = std::make_unique<ShardFile>(join_path(folder, s.name));
    const ShardFormat& format = file->format();
    MOE_CHECK(file->n_tokens() == s.tokens && file->n_documents() == s.documents &&
                  file->xxh3_128() == s.xxh3_128 && format.id_bytes == info.format.id_bytes &&
                  format.vocab_size == info.format.vocab_size &&
                  format.vocabulary == info.format.vocabulary &&
                  format.has_mask == info.format.has_mask &&
                  file->begins_inside() <= !shards_.empty(),
              "[shards] ", printable(file->path()), ": is not the shard that ", kShardsName,
              " beside it lists; prepare the data again");
    begins_.push_back(begins_.back() + s.tokens);
    shards_.push_back(std::move(file));
  }
}

size_t ShardStream::shard_of(int64_t token) const {
  return size_t(std::upper_bound(begins_.begin(), begins_.end(), token) - begins_.begin()) - 1;
}

void ShardStream::read(int64_t begin, std::span<int32_t> out) const {
  for (size_t s = shard_of(begin); !out.empty(); ++s) {
    const auto n = size_t(std::min<int64_t>(std::ssize(out), begins_[s + 1] - begin));
    shards_[s]->read(begin - begins_[s], out.first(n));
    out = out.subspan(n);
    begin += int64_t(n);
  }
}

bool ShardStream::trained(int64_t token) const {
  const size_t s = shard_of(token);
  return shards_[s]->trained(token - begins_[s]);
}

void ShardStream::for_each_document(const std::function<void(int64_t, int64_t)>& visit) const {
  int64_t begin = 0;
  for (size_t s = 0; s < shards_.size(); ++s)
    for (int64_t d = shards_[s]->begins_inside() ? 1 : 0; d < shards_[s]->n_documents(); ++d) {
      const int64_t next = begins_[s] + shards_[s]->document_begin(d);
      if (next > begin) visit(begin, next - begin);
      begin = next;
    }
  visit(begin, n_tokens() - begin);
}

void ShardStream::verify() const {
  parallel_for(std::ssize(shards_), 1, [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) shards_[size_t(s)]->verify();
  });
}

PreparedData open_prepared(const DataConfig& config, const Tokenizer& tokenizer) {
  PreparedData out{.info = read_prepared_info(config.path), .train = {}, .validation = {}};
  const PreparedInfo& info = out.info;
  const std::string what = "[data] " + printable(config.path);
  MOE_CHECK(vocabulary_hash(tokenizer) == info.format.vocabulary, what,
            ": the shards were made with another tokenizer than data.tokenizer=",
            printable(config.tokenizer),
            "; set data.tokenizer=", printable(join_path(config.path, "tokenizer.json")),
            " or prepare the data again");
  MOE_CHECK(info.stage != "sft" || config.turns == info.turns, what,
            ": the shards were made with --turns ", info.turns, ", but data.turns is ",
            config.turns, "; set it to that or prepare the data again");
  MOE_CHECK(info.stage != "sft" || config.loss_on == info.loss_on || config.loss_on == "all", what,
            ": the shards were made with --loss-on ", info.loss_on, ", but data.loss_on is ",
            config.loss_on, "; set it to that or prepare the data again");
  MOE_CHECK(config.fim_rate <= 0 || config.fim_rate == info.fim_rate, what,
            ": the shards were made with --fim-rate ", info.fim_rate, ", but data.fim_rate is ",
            config.fim_rate, "; leave the key out or prepare the data again");
  const auto open = [&](const PreparedPart& part) {
    auto stream = std::make_shared<ShardStream>(config.path, info, part);
    stream->verify();
    return stream;
  };
  out.train = open(info.train);
  if (config.val_fraction > 0 && !info.validation.shards.empty())
    out.validation = open(info.validation);
  return out;
}

// ---- documents as sequences -------------------------------------------------------------

namespace {

class ShardWindows : public Windows {
 public:
  struct Sequence {
    int64_t begin, n_ids;
  };
  ShardWindows(std::shared_ptr<const ShardStream> stream, std::vector<Sequence> sequences,
               int64_t seq_len, Packing packing, bool all_trained)
      : stream_(std::move(stream)), sequences_(std::move(sequences)), all_trained_(all_trained) {
    std::vector<int64_t> lengths;
    lengths.reserve(sequences_.size());
    for (const Sequence& s : sequences_) lengths.push_back(s.n_ids - 1);
    windows_ = pack_sequences_into(lengths, seq_len, packing);
  }
  int64_t count() const override { return std::ssize(windows_); }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override {
    MOE_CHECK(w >= 0 && w < count(), "[data] window ", w, " is not one of 0 .. ", count() - 1);
    std::vector<int32_t> ids;
    std::vector<uint8_t> trained;
    for (const int64_t s : windows_[size_t(w)]) {
      const auto [begin, n] = sequences_[size_t(s)];
      ids.resize(size_t(n));
      trained.resize(size_t(n));
      stream_->read(begin, ids);
      for (int64_t i = 0; i < n; ++i) trained[size_t(i)] = learns(begin + i);
      append_sequence(batch, ids, trained, first_token_index, Batch::kNoSubject);
      first_token_index += n - 1;
    }
  }
  int64_t n_targets(int64_t w) const override {
    int64_t n = 0;
    for (const int64_t s : windows_[size_t(w)])
      for (int64_t i = 1; i < sequences_[size_t(s)].n_ids; ++i)
        n += learns(sequences_[size_t(s)].begin + i);
    return n;
  }

 private:
  bool learns(int64_t token) const { return all_trained_ || stream_->trained(token); }

  std::shared_ptr<const ShardStream> stream_;
  std::vector<Sequence> sequences_;
  std::vector<std::vector<int64_t>> windows_;
  bool all_trained_;
};

}  // namespace

std::shared_ptr<const Windows> shard_windows(std::shared_ptr<const ShardStream> stream,
                                             int64_t seq_len, Packing packing, LongDocuments longer,
                                             bool all_trained, SequencesFound& found) {
  std::vector<ShardWindows::Sequence> sequences;
  const auto learns = [&](int64_t begin, int64_t n) {
    for (int64_t i = 1; i < n; ++i)
      if (all_trained || stream->trained(begin + i)) return true;
    return false;
  };
  stream->for_each_document([&](int64_t begin, int64_t n) {
    ++found.documents;
    found.cut += n > seq_len + 1;
    if (longer == LongDocuments::go_on) {
      for (int64_t at = 0; at + 1 < n; at += seq_len)
        sequences.push_back({begin + at, std::min(n - at, seq_len + 1)});
      return;
    }
    const int64_t kept = std::min(n, seq_len + 1);
    if (learns(begin, kept))
      sequences.push_back({begin, kept});
    else
      ++found.nothing_learned;
  });
  if (sequences.empty()) return nullptr;
  return std::make_shared<ShardWindows>(std::move(stream), std::move(sequences), seq_len, packing,
                                        all_trained);
}

}  // namespace moe
