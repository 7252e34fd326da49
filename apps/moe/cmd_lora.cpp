// SPDX-License-Identifier: MIT
// moe lora inspect, moe merge: low-rank adapters looked at, and made one with their model.
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/families/adapter_folder.h"
#include "moe/report/table.h"
#include "moe/text/chat_template_files.h"
#include "moe/train/adapter_report.h"

#include "apps/moe/command.h"
#include "apps/moe/train_options.h"

namespace moe {
namespace {

/// Both reports: a row for each target, and the sum.
struct TargetTable {
  JsonArray rows = {};
  Table table;
  int64_t parameters = 0;

  void add(const AdapterTarget& t, const double* grad_norm) {
    const std::string rank = t.rank > 0 ? str(t.rank) : "-";
    JsonObject row{{"name", t.name}, {"rank", t.rank}, {"parameters", t.parameters}};
    if (grad_norm) row["grad_norm"] = *grad_norm;
    rows.push_back(std::move(row));
    if (grad_norm)
      table.row({t.name, rank, with_commas(t.parameters), fmt::format("{:.3e}", *grad_norm)});
    else
      table.row({t.name, rank, with_commas(t.parameters)});
    parameters += t.parameters;
  }
  void print(bool json) const {
    if (json)
      print_json({{"targets", rows}, {"parameters", parameters}});
    else
      print_line(
          str(table.text(), with_commas(parameters), " parameters on ", rows.size(), " targets"));
  }
};

int inspect_folder(const std::string& path, bool json) {
  const ModelFolder folder = load_model_folder(path);
  MOE_CHECK(folder.model->n_adapters() == 1, "[lora] ", printable(path), " holds no adapter");
  TargetTable out{.table = Table({"target", "rank", "parameters"})};
  for (const AdapterTarget& t : adapter_targets(*folder.model, 0)) out.add(t, nullptr);
  out.print(json);
  return 0;
}

int inspect_run(const RunConfig& config, bool json) {
  set_threads(int(config.train.threads));
  TargetTable out{.table = Table({"target", "rank", "parameters", "gradient norm at step 1"})};
  std::vector<std::string> silent;
  const std::vector<TargetGradient> targets = report_adapter(config);
  for (const TargetGradient& t : targets) {
    out.add(t.target, &t.grad_norm);
    if (t.grad_norm == 0) silent.push_back(t.target.name);
  }
  out.print(json);
  MOE_CHECK(silent.empty(), "[lora] ", silent.size(), " of ", targets.size(),
            " targets get no gradient at step 1: ", silent[0], silent.size() > 1 ? " ..." : "",
            "; an expert that no token of the step reaches learns nothing: give larger batches, or "
            "lora.share_experts=true");
  return 0;
}

/// Ids all over the vocabulary, within the context.
std::vector<int32_t> probe(const ModelConfig& c) {
  const RngStream draws(1, 0, "merge.probe");
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < std::min<int64_t>(64, c.max_seq_len); ++i)
    ids.push_back(int32_t(draws.below(uint64_t(c.vocab_size), i, 0)));
  return ids;
}

Tensor logits_of(const TransformerLM& model, const std::vector<int32_t>& ids) {
  return model.logits(model(pack_sequences({ids})).hidden_TD).value();
}

struct MergeOptions {
  std::string base, adapter, out;
  bool json = false;
  MachineOptions machine;
};

int merge(const MergeOptions& o) {
  o.machine.apply();
  MOE_CHECK(!exists(o.out), "[merge] ", printable(o.out), " exists already; name a new folder");
  ModelFolder folder = load_model_folder(o.base);
  if (o.adapter.empty())
    MOE_CHECK(folder.model->n_adapters() == 1, "[merge] ", printable(o.base),
              " is a model without an adapter; name one with --adapter");
  else
    add_adapter_folder(folder, o.adapter);
  const int adapter = folder.model->n_adapters() - 1;
  folder.model->use_adapter(adapter);
  const std::string source = o.adapter.empty() ? folder.path : resolve_model_folder(o.adapter);
  const std::vector<int32_t> ids = probe(folder.model->config());
  const Tensor before = logits_of(*folder.model, ids);
  merge_adapter(*folder.model, adapter);
  const Tensor after = logits_of(*folder.model, ids);
  double difference = 0, largest = 0;
  for (size_t i = 0; i < size_t(before.numel()); ++i) {
    const double a = before.data<float>()[i], b = after.data<float>()[i];
    difference = std::max(difference, std::abs(a - b));
    largest = std::max(largest, std::abs(a));
  }
  // Rounding of W + s B A to float32, in units of the logits.
  constexpr double kTolerance = 1e-5;
  MOE_CHECK(difference <= kTolerance * std::max(1.0, largest), "[merge] the merged model's logits ",
            "differ by ", difference, " from those with the adapter beside it (at most ",
            kTolerance, " of the largest, ", largest, ", is rounding); nothing was written");
  const ModelCard card{.title = "A model with its adapter merged by moe.cpp",
                       .text = "",
                       .license = {},
                       .language = {},
                       .base_model = file_name(o.base),
                       .datasets = {}};
  make_directories(real_fs(), o.out);
  const AddFile add = [&](const std::string& name, const ByteProducer& content) {
    write_file_streaming(real_fs(), join_path(o.out, name), content);
  };
  write_model_files(add, *folder.model, folder.tokenizer.get(), folder.eos_ids, card);
  std::optional<ChatSource> chat = folder_chat_template(source);
  if (!chat) chat = folder_chat_template(resolve_model_folder(o.base));
  if (chat) write_file_atomic(real_fs(), join_path(o.out, "chat_template.jinja"), chat->text);
  if (o.json)
    print_json({{"out", o.out}, {"largest_difference", difference}, {"largest_logit", largest}});
  else
    print_line(
        fmt::format("{}: merged; logits differ by at most {:.2e} (largest {:.3g}) from those "
                    "with the adapter beside the model",
                    o.out, difference, largest));
  return 0;
}

}  // namespace

RunCommand add_lora(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);
  CLI::App* inspect = app.add_subcommand(
      "inspect", "An adapter's targets, their parameters and their gradients at step 1");
  inspect
      ->add_option("arguments", o->arguments,
                   "CONFIG.yaml and key=value changes, as for train; or a folder with an adapter")
      ->required();
  inspect->add_flag("--json", o->json, "one JSON object");
  return [o] {
    const std::string& first = o->arguments[0];
    if (o->arguments.size() == 1 && is_directory(first) &&
        (is_adapter_folder(first) || is_adapter_folder(resolve_model_folder(first))))
      return inspect_folder(first, o->json);
    return inspect_run(read_run_config(config_source(o->arguments, false)), o->json);
  };
}

RunCommand add_merge(CLI::App& app) {
  auto o = std::make_shared<MergeOptions>();
  app.add_option("BASE", o->base, "model folder, or an adapter's own, which names its model")
      ->required();
  app.add_option("--adapter", o->adapter, "folder of the adapter, or its run folder");
  app.add_option("--out", o->out, "new folder")->required();
  app.add_flag("--json", o->json, "one JSON object");
  o->machine.add(app);
  return [o] { return merge(*o); };
}

}  // namespace moe
