// SPDX-License-Identifier: MIT
#include <cmath>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/eval/expert_report.h"
#include "moe/eval/perplexity.h"
#include "moe/families/model_folder.h"
#include "moe/io/npy.h"
#include "moe/io/token_shards.h"
#include "moe/report/table.h"
#include "moe/train/run_config.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

bool fits(const TokenFile& file, int64_t vocab_size) {
  for (int64_t i = 0; i < file.size(); ++i)
    if (file.id(i) < 0 || file.id(i) >= vocab_size) return false;
  return true;
}

// The number type of a .bin, which has no header to tell. `asked`: the option, or "". Otherwise
// that of the run that trained the model, or u16 where nothing else is possible.
DType dtype_of_bin(const std::string& path, const std::string& asked, const ModelFolder& folder) {
  std::string name = asked;
  // Only a checkpoint's config.yaml is ours.
  if (name.empty() && exists(join_path(folder.path, "manifest.json")))
    if (const auto saved = read_saved_config(folder.path);
        saved && ends_with(saved->data.path, ".bin"))
      name = saved->data.token_dtype;
  if (!name.empty()) return name == "u32" ? DType::u32 : DType::u16;
  const int64_t vocab_size = folder.model->config().vocab_size;
  const uint64_t n_bytes = file_size(path);
  const bool u16 = n_bytes % 2 == 0 && fits(TokenFile(path, DType::u16), vocab_size);
  const bool u32 = n_bytes % 4 == 0 && fits(TokenFile(path, DType::u32), vocab_size);
  if (u16 && u32)
    throw Error(str("[eval] ", printable(path),
                    " can be read as u16 and as u32 token ids; say which with --token-dtype"),
                ExitCode::usage);
  if (!u16 && u32)
    throw Error(
        str("[eval] ", printable(path),
            " holds no u16 token ids of this model; as u32 it does: give --token-dtype u32"),
        ExitCode::usage);
  return DType::u16;  // or neither: the check below says what is wrong
}

// Token ids of a .npy or .bin file, sequence by sequence, or of a text by the model's tokenizer.
Sequences read_sequences(const std::string& path, const std::string& dtype,
                         const ModelFolder& folder) {
  if (!ends_with(path, ".npy") && !ends_with(path, ".bin")) {
    const std::string text = read_file(path);
    MOE_CHECK(!text.empty(), "[eval] ", printable(path), " is empty");
    return {folder.need_tokenizer().encode(text)};
  }
  const TokenFile file(path,
                       ends_with(path, ".bin") ? dtype_of_bin(path, dtype, folder) : DType::u16);
  file.check_ids(folder.model->config().vocab_size);
  const int64_t length = file.sequence_length() > 0 ? file.sequence_length() : file.size();
  Sequences sequences;
  for (int64_t i = 0; i < file.size(); ++i) {
    if (i % length == 0) sequences.emplace_back();
    sequences.back().push_back(int32_t(file.id(i)));
  }
  return sequences;
}

}  // namespace

RunCommand add_eval(CLI::App& app) {
  struct Options {
    std::string folder, data, token_dtype, dump_router;
    int64_t stride = 0;
    bool json = false;
    AdapterOptions adapters;
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  app.add_option("--data", o->data, "text file, or token ids as .npy or .bin")->required();
  app.add_option("--token-dtype", o->token_dtype,
                 "number type of a .bin: u16 or u32; default: that of the run's own data")
      ->check(CLI::IsMember({"u16", "u32"}));
  app.add_option("--dump-router", o->dump_router,
                 "write the router's logits: .npy, float32 [MoE layers, tokens, experts]");
  app.add_option("--stride", o->stride,
                 "tokens between the windows' starts: each token is scored once, with the context "
                 "less the stride before it; default: the context")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", o->json, "{\"loss\", \"perplexity\", \"bits_per_byte\", \"tokens\"}");
  o->adapters.add(app);
  o->machine.add(app);
  return [o] {
    o->machine.apply();
    ModelFolder folder = load_model_folder(o->folder);
    o->adapters.apply(folder);
    const Sequences sequences = read_sequences(o->data, o->token_dtype, folder);
    if (!o->dump_router.empty())
      write_npy(real_fs(), o->dump_router, router_logits(*folder.model, sequences));
    ProgressLine progress(o->json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
    const PerplexityResult r = evaluate_sequences(
        *folder.model, sequences, folder.tokenizer.get(),
        [&](double done) { progress.update(progress_bar(done, 20) + " evaluating"); }, o->stride);
    progress.finish();
    if (o->json) {
      print_json({{"loss", r.loss},
                  {"perplexity", r.perplexity()},
                  {"bits_per_byte", r.bits_per_byte()},
                  {"tokens", r.tokens}});
      return 0;
    }
    Table table({"loss (nats/token)", "perplexity", "bits per byte", "tokens"});
    table.row({fmt::format("{:.5f}", r.loss), fmt::format("{:.3f}", r.perplexity()),
               std::isnan(r.bits_per_byte()) ? "-" : fmt::format("{:.4f}", r.bits_per_byte()),
               with_commas(r.tokens)});
    print_line(table.text());
    return 0;
  };
}

RunCommand add_logits(CLI::App& app) {
  struct Options {
    std::string folder, ids, out;
    AdapterOptions adapters;
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  app.add_option("--ids", o->ids, "token ids, 1,2,3")->required();
  app.add_option("--out", o->out, "where to write the logits: .npy, float32 [T, V]")->required();
  o->adapters.add(app);
  o->machine.add(app);
  return [o] {
    o->machine.apply();
    const std::vector<int32_t> ids = parse_ids(o->ids);
    ModelFolder folder = load_model_folder(o->folder);
    o->adapters.apply(folder);
    const LmOutput out = (*folder.model)(pack_sequences({ids}));
    write_npy(real_fs(), o->out, folder.model->logits(out.hidden_TD).value());
    return 0;
  };
}

}  // namespace moe
