// SPDX-License-Identifier: MIT
#include "moe/data/dataset.h"

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/data/chat_dataset.h"
#include "moe/data/demo_windows.h"
#include "moe/data/document_encoder.h"
#include "moe/data/packed_windows.h"
#include "moe/data/prepared_data.h"
#include "moe/data/text_files.h"
#include "moe/io/token_shards.h"
#include "moe/text/tokenizer_files.h"

namespace moe {
namespace {

/// How one of several sources is opened.
struct InMixture {
  std::shared_ptr<const Tokenizer> tokenizer = {};  // of all; null: the only source's own
  bool is_part = false;  // too short to be split is no error: it is for training alone
};

/// Whether documents follow one another, windows crossing from one into the next.
bool is_stream(const DataConfig& config) {
  return config.packing == "auto" || config.packing == "stream";
}

WindowShape window_shape(const DataConfig& config, std::string_view part) {
  MOE_CHECK(config.eval_stride <= config.seq_len, "[data] data.eval_stride is ", config.eval_stride,
            ", but data.seq_len is ", config.seq_len,
            "; windows further apart than they are long would leave tokens out");
  if (part == "validation" && config.eval_stride > 0)
    return {config.seq_len, config.eval_stride, false, true};
  return {config.seq_len, config.stride > 0 ? config.stride : config.seq_len, config.drop_last,
          false};
}

/// Windows over rows; throws when they give none. part: "training", "validation".
std::shared_ptr<const Windows> token_windows(const DataConfig& config, const ReadTokens& read,
                                             const TokenRows& rows, std::string_view part) {
  auto windows = std::make_shared<TokenWindows>(read, rows, window_shape(config, part));
  if (windows->count() > 0) return windows;
  const std::string kind = rows.n_rows == 1 ? str("the ", part, " part has ", rows.row_length)
                                            : str("each sequence has ", rows.row_length);
  const std::string shorter =
      rows.row_length >= 2 ? str("set data.seq_len=", rows.row_length - 1, " or less, ") : "";
  throw Error(str("[data] ", printable(config.path), ": ", kind, " tokens, but a window needs ",
                  config.seq_len + 1, " (data.seq_len + 1); ", shorter, "give more data",
                  part == "validation" ? ", or set data.val_fraction=0" : ""));
}

class NoWindows : public Windows {
 public:
  int64_t count() const override { return 0; }
  void append(int64_t, int64_t, Batch&) const override {}
};

std::shared_ptr<const Windows> no_windows() { return std::make_shared<NoWindows>(); }

/// The validation part, or null where one source of several has none that is long enough.
template <class Open>
std::shared_ptr<const Windows> validation_part(const InMixture& in, Dataset& data, Open open) {
  try {
    return open();
  } catch (const Error&) {
    if (!in.is_part) throw;
    data.n_validation_tokens = 0;
    return nullptr;
  }
}

// ---- demo -------------------------------------------------------------------------------

Dataset open_demo(const DataConfig& config, uint64_t seed, const InMixture& in) {
  // 64 windows of the default 256 tokens hold about 500 samples: a validation loss good to about 1
  // %.
  constexpr int64_t kValidationWindows = 64;
  constexpr uint64_t kValidationSeed = 0;
  Dataset out;
  out.tokenizer = in.tokenizer ? in.tokenizer : open_tokenizer(config.tokenizer, demo_alphabet());
  out.vocab_size = out.tokenizer->vocab_size();
  out.subject_names = demo_subject_names();
  out.train = std::make_shared<DemoWindows>(seed, Split::train, out.tokenizer, config.seq_len,
                                            DemoWindows::kEndless);
  if (config.val_fraction > 0) {
    out.validation = std::make_shared<DemoWindows>(
        kValidationSeed, Split::validation, out.tokenizer, config.seq_len, kValidationWindows);
    out.n_validation_tokens = kValidationWindows * config.seq_len;
  }
  return out;
}

// ---- text -------------------------------------------------------------------------------

using Documents = std::vector<std::vector<TokenId>>;

Documents encode_documents(const std::vector<std::string>& texts, const Tokenizer& tokenizer,
                           bool end_each) {
  Documents out;
  for (const std::string& text : texts) {
    out.push_back(tokenizer.encode(text));
    if (end_each && tokenizer.eos_id()) out.back().push_back(*tokenizer.eos_id());
  }
  return out;
}

/// The same, a share of them cut in three for filling in the middle.
Documents encode_for_training(const std::vector<std::string>& texts, const Tokenizer& tokenizer,
                              bool end_each, double fim_rate, uint64_t seed) {
  const DocumentEncoder encoder(tokenizer, fim_rate, seed);
  Documents out;
  for (size_t i = 0; i < texts.size(); ++i) {
    out.push_back(encoder.encode(texts[i], int64_t(i)));
    if (end_each && tokenizer.eos_id()) out.back().push_back(*tokenizer.eos_id());
  }
  return out;
}

int64_t count_ids(const Documents& documents) {
  int64_t n = 0;
  for (const auto& document : documents) n += std::ssize(document);
  return n;
}

std::vector<TokenId> end_to_end(Documents documents) {
  if (documents.size() == 1) return std::move(documents[0]);
  std::vector<TokenId> ids;
  ids.reserve(size_t(count_ids(documents)));
  for (const auto& document : documents) ids.insert(ids.end(), document.begin(), document.end());
  return ids;
}

/// Each document a sequence of its own.
std::shared_ptr<const Windows> document_windows(const DataConfig& config,
                                                const Documents& documents, std::string_view part) {
  TokenSequences sequences;
  for (const auto& document : documents) sequences.add_text(document, config.seq_len);
  MOE_CHECK(sequences.count() > 0, "[data] ", printable(config.path), ": the ", part,
            " part has no document of two tokens");
  return std::make_shared<PackedWindows>(std::move(sequences), config.seq_len,
                                         chat_packing(config.packing));
}

std::shared_ptr<const Windows> text_windows(const DataConfig& config, Documents documents,
                                            std::string_view part) {
  if (!is_stream(config)) return document_windows(config, documents, part);
  auto shared = std::make_shared<const std::vector<TokenId>>(end_to_end(std::move(documents)));
  const TokenRows rows{.begin = 0, .n_rows = 1, .row_length = std::ssize(*shared)};
  const ReadTokens read = [shared](int64_t begin, std::span<int32_t> out) {
    std::copy_n(shared->begin() + begin, out.size(), out.begin());
  };
  return token_windows(config, read, rows, part);
}

Dataset open_text(const DataConfig& config, uint64_t seed, const InMixture& in) {
  const TextSplit text =
      read_text_files(config.path, config.val_fraction, parse_on_error(config.on_error));
  Dataset out;
  // The characters of both parts, so that validation holds no unknown one; the ids depend on
  // nothing else.
  std::string all;
  if (config.tokenizer == "char" && !in.tokenizer) {
    for (const auto* part : {&text.train, &text.validation}) {
      for (const std::string& document : *part) all += document;
    }
  }
  out.tokenizer = in.tokenizer ? in.tokenizer : open_tokenizer(config.tokenizer, all);
  out.vocab_size = out.tokenizer->vocab_size();
  Documents train, validation;
  try {
    train = encode_for_training(text.train, *out.tokenizer, text.many, config.fim_rate, seed);
    validation = encode_documents(text.validation, *out.tokenizer, text.many);
  } catch (const Error& error) {
    throw Error(str("[data] ", printable(config.path), ": ", error.what()));
  }
  out.n_train_tokens = count_ids(train);
  out.n_validation_tokens = count_ids(validation);
  out.train = text_windows(config, std::move(train), "training");
  if (config.val_fraction > 0)
    out.validation = validation_part(
        in, out, [&] { return text_windows(config, std::move(validation), "validation"); });
  return out;
}

// ---- prepared shards --------------------------------------------------------------------

Dataset open_shards(const DataConfig& config, const InMixture& in) {
  Dataset out;
  out.tokenizer = in.tokenizer ? in.tokenizer : open_prepared_tokenizer(config);
  out.vocab_size = out.tokenizer->vocab_size();
  const PreparedData data = open_prepared(config, *out.tokenizer);
  MOE_CHECK(data.info.stage == "pretrain", "[data] ", printable(config.path),
            ": the shards hold conversations; set stage=sft, or prepare texts for pretraining");
  const auto windows = [&](const std::shared_ptr<const ShardStream>& stream,
                           std::string_view part) -> std::shared_ptr<const Windows> {
    if (is_stream(config))
      return token_windows(
          config, [stream](int64_t begin, std::span<int32_t> ids) { stream->read(begin, ids); },
          {.begin = 0, .n_rows = 1, .row_length = stream->n_tokens()}, part);
    SequencesFound found;
    auto packed = shard_windows(stream, config.seq_len, chat_packing(config.packing),
                                LongDocuments::go_on, true, found);
    MOE_CHECK(packed, "[data] ", printable(config.path), ": the ", part,
              " part has no document of two tokens");
    return packed;
  };
  out.n_train_tokens = data.train->n_tokens();
  out.train = windows(data.train, "training");
  if (!data.validation) return out;
  out.n_validation_tokens = data.validation->n_tokens();
  out.validation = validation_part(in, out, [&] { return windows(data.validation, "validation"); });
  return out;
}

// ---- token ids --------------------------------------------------------------------------

Dataset open_tokens(const DataConfig& config, const InMixture& in) {
  const auto file = std::make_shared<const TokenFile>(
      config.path, config.token_dtype == "u32" ? DType::u32 : DType::u16);
  Dataset out;
  const int64_t max_id = file->max_id();  // throws on negative ids
  MOE_CHECK(max_id < std::numeric_limits<int32_t>::max(), "[data] ", printable(config.path),
            ": the largest id is ", max_id,
            ", ids above 2^31 - 2 are not supported; is data.token_dtype right?");
  out.vocab_size = max_id + 1;
  const ReadTokens read = [file](int64_t begin, std::span<int32_t> ids) {
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<int32_t>(file->id(begin + static_cast<int64_t>(i)));
  };

  const bool flat = file->sequence_length() == 0;
  const int64_t row_length = flat ? 1 : file->sequence_length();
  const int64_t n_units = file->size() / row_length;  // ids, or sequences
  auto n_train = static_cast<int64_t>(static_cast<double>(n_units) * (1.0 - config.val_fraction));
  if (!flat && config.val_fraction > 0 && (n_units >= 2 || !in.is_part)) {
    MOE_CHECK(n_units >= 2, "[data] ", printable(config.path),
              ": one sequence cannot be split; set data.val_fraction=0");
    n_train = std::clamp<int64_t>(n_train, 1, n_units - 1);
  }
  const int64_t n_validation = n_units - n_train;
  out.n_train_tokens = n_train * row_length;
  out.n_validation_tokens = n_validation * row_length;
  const auto rows = [&](int64_t first, int64_t n) {
    return flat ? TokenRows{.begin = first, .n_rows = 1, .row_length = n}
                : TokenRows{.begin = first * row_length, .n_rows = n, .row_length = row_length};
  };
  out.train = token_windows(config, read, rows(0, n_train), "training");
  if (config.val_fraction > 0)
    out.validation = validation_part(in, out, [&] {
      return token_windows(config, read, rows(n_train, n_validation), "validation");
    });
  return out;
}

}  // namespace

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name,
                                                std::string_view char_text) {
  if (name == "byte") return make_byte_tokenizer();
  if (name == "char") return make_char_tokenizer(distinct_code_points(char_text));
  MOE_CHECK(exists(name), "[data] tokenizer '", printable(name),
            "' is neither byte nor char, and no such file exists (data.tokenizer)");
  return read_tokenizer(name);
}

namespace {

Dataset open_one(const DataConfig& config, uint64_t seed, const InMixture& in) {
  if (config.path == "demo") return open_demo(config, seed, in);
  if (is_prepared_data(config.path)) return open_shards(config, in);
  if (!is_directory(config.path) &&
      (ends_with(config.path, ".npy") || ends_with(config.path, ".bin")))
    return open_tokens(config, in);
  return open_text(config, seed, in);
}

/// The tokenizer of all sources: `char` knows the characters of each.
std::shared_ptr<const Tokenizer> mixture_tokenizer(const DataConfig& config) {
  if (config.tokenizer != "char") return open_tokenizer(config.tokenizer, "");
  std::string all;
  for (const std::string& path : config.paths()) {
    DataConfig one = config;
    one.path = path;
    if (path == "demo") {
      all += demo_alphabet();
    } else if (is_prepared_data(path)) {
      return open_prepared_tokenizer(one);
    } else if (!ends_with(path, ".npy") && !ends_with(path, ".bin")) {
      for (const std::string& text :
           read_text_files(path, 0, parse_on_error(config.on_error)).train)
        all += text;
    }
  }
  return open_tokenizer("char", all);
}

}  // namespace

Dataset mix_datasets(const DataConfig& config,
                     const std::function<Dataset(const DataConfig&)>& open) {
  Dataset out;
  std::vector<MixedWindows::Source> train, validation;
  bool endless = false;
  for (size_t i = 0; i < config.mixture.size(); ++i) {
    const DataSource& source = config.mixture[i];
    const std::string key = str("data.mixture[", i, "]");
    MOE_CHECK(!source.path.empty(), "[config] ", key, " has no path");
    const bool has_weight = config.mixture.front().weight > 0;
    if ((source.weight > 0) != has_weight)
      throw Error(str("[config] ", key, has_weight ? " has no weight" : " has a weight",
                      ", but data.mixture[0] has ", has_weight ? "one" : "none",
                      "; give one to each, or to none"),
                  ExitCode::usage);
    DataConfig one = config;
    one.mixture.clear();
    one.path = source.path;
    const Dataset data = open(one);
    const bool is_endless = data.n_train_tokens == 0;
    if (is_endless && (!has_weight || source.epochs > 0))
      throw Error(str("[config] ", key, ": ", printable(source.path),
                      " has no end, so it has no size and no epochs; give every source a weight"),
                  ExitCode::usage);
    endless = endless || is_endless;
    out.vocab_size = std::max(out.vocab_size, data.vocab_size);
    if (data.tokenizer) out.tokenizer = data.tokenizer;
    out.n_train_tokens += data.n_train_tokens;
    out.n_validation_tokens += data.n_validation_tokens;
    train.push_back({data.train, source.weight, source.epochs});
    // The number of a source stays its subject, so that one without windows keeps its place.
    validation.push_back({data.validation ? data.validation : no_windows(), 0, 0});
    out.validation_windows.push_back(data.validation ? data.validation->count() : 0);
    const std::string name = file_name(source.path);
    const auto& names = out.subject_names;
    out.subject_names.push_back(
        std::find(names.begin(), names.end(), name) == names.end() ? name : source.path);
  }
  if (endless) out.n_train_tokens = 0;
  out.mixture = std::make_shared<MixedWindows>(std::move(train));
  out.train = out.mixture;
  auto all = std::make_shared<MixedWindows>(std::move(validation));
  if (all->count() > 0) out.validation = all;
  return out;
}

Dataset open_dataset(const DataConfig& config, uint64_t seed) {
  if (config.mixture.empty()) return open_one(config, seed, {});
  const InMixture in{.tokenizer = mixture_tokenizer(config), .is_part = true};
  Dataset out =
      mix_datasets(config, [&](const DataConfig& one) { return open_one(one, seed, in); });
  MOE_CHECK(!out.tokenizer || out.vocab_size <= out.tokenizer->vocab_size(),
            "[data] data.mixture: the token files use ids up to ", out.vocab_size - 1,
            ", but data.tokenizer=", printable(config.tokenizer), " has ",
            out.tokenizer->vocab_size(), "; they were made with another tokenizer");
  return out;
}

}  // namespace moe
