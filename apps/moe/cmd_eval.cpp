// SPDX-License-Identifier: MIT
#include <cmath>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/eval/perplexity.h"
#include "moe/families/model_folder.h"
#include "moe/io/npy.h"
#include "moe/io/token_shards.h"
#include "moe/report/table.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

// Token ids of a .npy or .bin file, or of a text by the model's tokenizer.
std::vector<int32_t> read_ids(const std::string& path, const ModelFolder& folder) {
  if (!ends_with(path, ".npy") && !ends_with(path, ".bin")) {
    const std::string text = read_file(path);
    MOE_CHECK(!text.empty(), "[eval] ", printable(path), " is empty");
    return folder.need_tokenizer().encode(text);
  }
  const TokenFile file(path, DType::u16);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < file.size(); ++i) {
    const int64_t id = file.id(i);
    MOE_CHECK(id >= 0 && id < folder.model->config().vocab_size, "[eval] ", printable(path),
              ": id ", id, " at place ", i, " is outside the vocabulary of ",
              folder.model->config().vocab_size);
    ids.push_back(int32_t(id));
  }
  return ids;
}

}  // namespace

RunCommand add_eval(CLI::App& app) {
  struct Options {
    std::string folder, data;
    bool json = false;
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  app.add_option("--data", o->data, "text file, or token ids as .npy or .bin (u16)")->required();
  app.add_flag("--json", o->json, "{\"loss\", \"perplexity\", \"bits_per_byte\", \"tokens\"}");
  o->machine.add(app);
  return [o] {
    o->machine.apply();
    const ModelFolder folder = load_model_folder(o->folder);
    const std::vector<int32_t> ids = read_ids(o->data, folder);
    ProgressLine progress(o->json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
    const PerplexityResult r =
        evaluate_ids(*folder.model, ids, folder.tokenizer.get(),
                     [&](double done) { progress.update(progress_bar(done, 20) + " evaluating"); });
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
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  app.add_option("--ids", o->ids, "token ids, 1,2,3")->required();
  app.add_option("--out", o->out, "where to write the logits: .npy, float32 [T, V]")->required();
  o->machine.add(app);
  return [o] {
    o->machine.apply();
    const std::vector<int32_t> ids = parse_ids(o->ids);
    const ModelFolder folder = load_model_folder(o->folder);
    const LmOutput out = (*folder.model)(pack_sequences({ids}));
    write_npy(real_fs(), o->out, folder.model->logits(out.hidden_TD).value());
    return 0;
  };
}

}  // namespace moe
