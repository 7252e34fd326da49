// SPDX-License-Identifier: MIT
#include "moe/data/data_config.h"

#include <cmath>

#include "moe/base/error.h"
#include "moe/base/yaml_tree.h"

namespace moe {
namespace {

/// A number above 0, or a word that stands for the 0 of the field.
ConfigKey number_or_word(const std::string& path, double& field, const std::string& word,
                         const std::string& meaning) {
  const std::string wanted = "a number above 0, or " + word;
  ConfigKey key{.path = path,
                .type = "number or " + word,
                .range = "> 0 | " + word,
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field, word, wanted](const std::string& yaml) {
    if (trim(yaml) == word) {
      field = 0;
      return;
    }
    double value = 0;
    ConfigTable one;
    one.number(path, value, -1e300, 1e300, "");
    try {
      one.set(path, yaml);
    } catch (const Error&) {
      value = 0;  // no number at all
    }
    if (!(value > 0) || !std::isfinite(value) || value > 1e12)
      throw Error(str("[config] ", path, " is ", yaml.empty() ? "empty" : printable(yaml, 80),
                      ", must be ", wanted),
                  ExitCode::usage);
    field = value;
  };
  key.get = [&field, word] { return field == 0 ? word : yaml_number(field); };
  return key;
}

void bind_source(ConfigTable& table, DataSource& source) {
  table.string("path", source.path, "as data.path");
  table.add(number_or_word("weight", source.weight, "size",
                           "its share among the sources; size: in proportion to its windows"));
  table.add(number_or_word("epochs", source.epochs, "any", "passes over it at most"));
}

}  // namespace

std::vector<std::string> DataConfig::paths() const {
  if (mixture.empty()) return {path};
  std::vector<std::string> out;
  for (const DataSource& source : mixture) out.push_back(source.path);
  return out;
}

void add_data_keys(ConfigTable& table, DataConfig& config) {
  // 2^20 tokens a window: more than any model here can attend to, and products of it stay far below
  // 2^63.
  constexpr int64_t kMaxWindow = int64_t{1} << 20;
  table.string(
      "data.path", config.path,
      "Training data: demo (built in), a file of text (.txt) or of records with a field "
      "text (.jsonl, .json, .csv, .tsv), each also .gz or .zst, a folder of such files, a folder "
      "of shards (moe data prepare), or a .npy/.bin file of token ids.");
  table.list(
      "data.mixture", config.mixture, bind_source,
      "Several sources in place of data.path: [{path: a, weight: 0.7}, {path: b, weight: "
      "0.3, epochs: 2}]. Weights are shares of the windows; without any, each source is seen "
      "in proportion to its size ([a, b]). A source that was seen epochs times leaves its "
      "share to the others.");
  table.string(
      "data.tokenizer", config.tokenizer,
      "byte, char, or the path of a tokenizer file or its folder; unused for .npy and .bin.");
  table.integer("data.seq_len", config.seq_len, 1, kMaxWindow,
                "Tokens a window trains on; it reads seq_len + 1 ids.");
  table.integer("data.stride", config.stride, 0, kMaxWindow,
                "Tokens between window starts; 0 means seq_len.");
  table.integer("data.eval_stride", config.eval_stride, 0, kMaxWindow,
                "Tokens between starts of the validation windows of a stream of tokens, at most "
                "seq_len: each token is scored once, with at least seq_len - eval_stride tokens "
                "before it. 0 means windows as for training.");
  table.number("data.val_fraction", config.val_fraction, 0.0, 0.9,
               "Share of the documents (of a single file: its last part) kept for validation; 0 "
               "means none. The demo "
               "keeps a tenth of its prompts whatever the value.");
  table.choice("data.order", config.order, {"shuffled", "sequential"},
               "Order of the windows in an epoch.");
  table.boolean(
      "data.drop_last", config.drop_last,
      "Leave out the tokens after the last whole window; false makes them a shorter window.");
  table.choice("data.token_dtype", config.token_dtype, {"u16", "u32"},
               "Number type of a .bin file's token ids.");
  table.choice("data.on_error", config.on_error, {"stop", "skip", "report"},
               "What a record that is wrong does: stop the run, be left out, or be left out and "
               "told.");
  table.choice(
      "data.packing", config.packing, {"auto", "stream", "sequential", "best_fit", "none"},
      "How documents fill windows. stream: end to end, a window crosses from one into the "
      "next; sequential, best_fit (least room wasted): each a sequence of its own that sees "
      "no other; none: one a window. auto: stream, of conversations best_fit.");
  table.number(
      "data.fim_rate", config.fim_rate, 0.0, 1.0,
      "Share of the training documents that are cut in three and written as prefix, suffix, "
      "middle, for moe complete; the tokenizer needs the markers (<|fim_prefix|> ...).");
  table.string(
      "data.template", config.chat_template,
      "Chat template of stage sft: a built-in one by name (moe template list), a file or a "
      "folder; empty: that of model.init_from, else chatml.");
  table.choice("data.loss_on", config.loss_on, {"assistant", "all"},
               "Which tokens of a conversation are learned.");
  table.choice("data.turns", config.turns, {"every", "last"},
               "Which of the assistant's turns are learned.");
}

}  // namespace moe
