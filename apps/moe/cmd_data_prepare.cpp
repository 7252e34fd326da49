// SPDX-License-Identifier: MIT
#include "apps/moe/cmd_data_prepare.h"

#include <fmt/format.h>
#include <memory>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/base/progress.h"
#include "moe/data/prepare.h"
#include "moe/report/table.h"
#include "moe/text/utf8_stream.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct PrepareCommand {
  PrepareOptions options;
  int64_t shard_mb = 100;
  bool json = false;
  MachineOptions machine;
};

JsonObject part_json(const PreparedPart& part) {
  int64_t bytes = 0;
  for (const ShardSummary& s : part.shards) bytes += s.bytes;
  return {{"documents", part.documents},
          {"tokens", part.tokens},
          {"trained", part.trained},
          {"shards", part.shards.size()},
          {"bytes", bytes}};
}

void add_part(Table& table, const std::string& name, const PreparedPart& part) {
  int64_t bytes = 0;
  for (const ShardSummary& s : part.shards) bytes += s.bytes;
  table.row({name, with_commas(part.documents), with_commas(part.tokens), with_commas(part.trained),
             with_commas(std::ssize(part.shards)), human_bytes(uint64_t(bytes))});
}

int run_prepare(PrepareCommand& o) {
  o.machine.apply();
  catch_interrupts();
  o.options.max_shard_bytes = o.shard_mb << 20;
  ProgressLine progress(o.json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
  o.options.progress = [&](const std::string& what, double share) {
    progress.update(fmt::format("{} {:3.0f} % {}", progress_bar(share, 20), 100 * share, what));
  };
  o.options.stop_requested = interrupted;
  const double begin = real_clock().monotonic_seconds();
  const PrepareResult result = prepare_data(real_fs(), o.options);
  progress.finish();
  const double seconds = real_clock().monotonic_seconds() - begin;
  if (result.cut > 0)
    log_warning(str("[data prepare] ", with_commas(result.cut),
                    " conversations are longer than --seq-len ", o.options.data.seq_len,
                    " and are cut at their end"));
  if (result.nothing_learned > 0)
    log_warning(str("[data prepare] ", with_commas(result.nothing_learned),
                    " conversations hold no token to learn and are left out"));
  const PreparedInfo& info = result.info;
  if (o.json) {
    print_json({{"out", o.options.out},
                {"stage", info.stage},
                {"id_bytes", info.format.id_bytes},
                {"vocab_size", info.format.vocab_size},
                {"vocabulary", info.format.vocabulary},
                {"train", part_json(info.train)},
                {"validation", part_json(info.validation)},
                {"text_bytes", result.text_bytes},
                {"bad_records", result.n_bad},
                {"cut", result.cut},
                {"nothing_learned", result.nothing_learned},
                {"seconds", seconds},
                {"peak_memory_bytes", peak_resident_bytes()}});
    return 0;
  }
  Table table({"part", "documents", "tokens", "learned", "shards", "size"});
  add_part(table, "train", info.train);
  add_part(table, "validation", info.validation);
  print_line(table.text() +
             fmt::format("wrote {}: {} of {} in {}, {:.1f} MB/s; train with data.path={}{}",
                         o.options.out, info.format.id_bytes == 2 ? "u16 ids" : "u32 ids",
                         human_bytes(uint64_t(result.text_bytes)), human_seconds(seconds),
                         double(result.text_bytes) / 1e6 / std::max(seconds, 1e-9), o.options.out,
                         info.stage == "sft" ? " stage=sft" : ""));
  return 0;
}

/// Ids as text, special tokens by their text; runs of learned ids between `open` and `close`.
std::string shown_ids(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                      const std::vector<uint8_t>& trained, std::string_view open,
                      std::string_view close) {
  std::string out;
  Utf8Stream stream;  // a document may be cut within a character
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool begins = trained[i] && (i == 0 || !trained[i - 1]),
               ends = trained[i] && (i + 1 == ids.size() || !trained[i + 1]);
    if (begins) out.append(stream.finish()).append(open);
    out += stream.push(tokenizer.token_bytes(ids[i]));
    if (ends) out.append(stream.finish()).append(close);
  }
  return out + stream.finish();
}

}  // namespace

int inspect_prepared(const std::string& folder, int64_t samples, bool json) {
  const PreparedInfo info = read_prepared_info(folder);
  DataConfig config;
  config.path = folder;
  config.tokenizer = join_path(folder, "tokenizer.json");
  config.turns = info.turns;
  config.loss_on = info.loss_on;
  config.val_fraction = 1;  // both parts are verified
  const auto tokenizer = open_prepared_tokenizer(config);
  const PreparedData data = open_prepared(config, *tokenizer);
  constexpr int64_t kShownIds = 300;
  const bool color = wants_color(1);
  JsonArray shown;
  std::string text;
  data.train->for_each_document([&](int64_t begin, int64_t n) {
    if (std::ssize(shown) >= samples) return;
    std::vector<int32_t> ids(size_t(std::min(n, kShownIds)));
    data.train->read(begin, ids);
    std::vector<uint8_t> trained;
    for (int64_t i = 0; i < std::ssize(ids); ++i) trained.push_back(data.train->trained(begin + i));
    text += str("\n--- document ", shown.size(), ", ", with_commas(n), " tokens\n",
                color ? shown_ids(*tokenizer, ids, trained, "\x1b[32m", "\x1b[0m")
                      : shown_ids(*tokenizer, ids, trained, "[", "]"),
                n > kShownIds ? " ...\n" : "\n");
    JsonArray learned;
    for (const uint8_t t : trained) learned.push_back(Json(int(t)));
    shown.push_back(JsonObject{{"tokens", n},
                               {"ids", JsonArray(ids.begin(), ids.end())},
                               {"trained", std::move(learned)},
                               {"text", shown_ids(*tokenizer, ids, trained, "", "")}});
  });
  if (json) {
    JsonArray files;
    for (const std::string& name : info.files) files.push_back(Json(name));
    print_json({{"folder", folder},
                {"stage", info.stage},
                {"verified", true},
                {"files", std::move(files)},
                {"id_bytes", info.format.id_bytes},
                {"vocab_size", info.format.vocab_size},
                {"vocabulary", info.format.vocabulary},
                {"seq_len", info.seq_len},
                {"fim_rate", info.fim_rate},
                {"train", part_json(info.train)},
                {"validation", part_json(info.validation)},
                {"samples", std::move(shown)}});
    return 0;
  }
  Table table({"part", "documents", "tokens", "learned", "shards", "size"});
  add_part(table, "train", info.train);
  add_part(table, "validation", info.validation);
  print_line(str(table.text(), "made for stage ", info.stage, " of ", join(info.files, ", "), "; ",
                 info.format.id_bytes == 2 ? "u16" : "u32", " ids of a vocabulary of ",
                 with_commas(info.format.vocab_size), "; all checksums are right\n", text));
  return 0;
}

std::pair<CLI::App*, std::function<int()>> add_data_prepare(CLI::App& app) {
  auto o = std::make_shared<PrepareCommand>();
  o->options.data.seq_len = 0;
  DataConfig& data = o->options.data;
  CLI::App* prepare = app.add_subcommand(
      "prepare", "Texts or conversations as token shards, which later runs map: data.path=DIR");
  prepare
      ->add_option("files", o->options.inputs,
                   "files of text or records, or folders of them; also .gz and .zst")
      ->required();
  prepare->add_option("--out", o->options.out, "a folder that does not exist or is empty")
      ->required();
  prepare
      ->add_option("--stage", o->options.stage,
                   "pretrain: texts; sft: conversations, with what is learned of them; auto: by "
                   "the first record")
      ->check(CLI::IsMember({"auto", "pretrain", "sft"}))
      ->capture_default_str();
  prepare->add_option("--tokenizer", data.tokenizer, "byte, char, or a tokenizer file or folder")
      ->capture_default_str();
  prepare->add_option("--template", data.chat_template,
                      "of conversations: a name of moe template list, a file or a folder; default: "
                      "chatml");
  prepare
      ->add_option("--val-fraction", data.val_fraction,
                   "share for validation, chosen as data.val_fraction does; 0: none")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  prepare
      ->add_option("--seq-len", data.seq_len,
                   "cut conversations after so many tokens, as data.seq_len does; 0: keep them "
                   "whole, and a run cuts them")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  prepare->add_option("--turns", data.turns, "the assistant's turns that are learned: every, last")
      ->check(CLI::IsMember({"every", "last"}))
      ->capture_default_str();
  prepare->add_option("--loss-on", data.loss_on, "tokens of a conversation that are learned")
      ->check(CLI::IsMember({"assistant", "all"}))
      ->capture_default_str();
  prepare
      ->add_option("--fim-rate", data.fim_rate,
                   "share of the training texts that are cut in three for filling in the middle")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_seed_option(*prepare, "--seed", o->options.seed,
                  "of the draws of --fim-rate: train.seed of the run")
      ->capture_default_str();
  prepare->add_option("--shard-mb", o->shard_mb, "most of one shard, in MiB")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 14))
      ->capture_default_str();
  prepare->add_option("--on-error", data.on_error, "a record that is wrong: stop, skip or report")
      ->check(CLI::IsMember({"stop", "skip", "report"}))
      ->capture_default_str();
  prepare->add_flag("--json", o->json, "one JSON object");
  o->machine.add(*prepare);
  return {prepare, [o] { return run_prepare(*o); }};
}

}  // namespace moe
