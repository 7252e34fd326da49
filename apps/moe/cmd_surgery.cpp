// SPDX-License-Identifier: MIT
// Growth and back: upcycle, prune, merge-experts, densify.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/data/demo_corpus.h"
#include "moe/eval/expert_report.h"
#include "moe/eval/perplexity.h"
#include "moe/families/model_folder.h"
#include "moe/families/surgery.h"
#include "moe/io/checkpoint.h"
#include "moe/nn/accounting.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct SurgeryOptions {
  std::string folder, out, data = "demo", by = "usage", layers = "all";
  int64_t experts = 8, top_k = 2, split = 1, tokens = 8192, seed = 1;
  bool json = false;
  MachineOptions machine;
};

using Sequences = std::vector<std::vector<int32_t>>;

// At most o.tokens tokens of a text, or of the built-in corpus.
Sequences read_data(const SurgeryOptions& o, const ModelFolder& folder) {
  const Tokenizer& tokenizer = folder.need_tokenizer();
  Sequences out;
  int64_t left = o.tokens;
  const auto add = [&](const std::string& text) {
    std::vector<int32_t> ids = tokenizer.encode(text);
    ids.resize(size_t(std::min<int64_t>(int64_t(ids.size()), left)));
    left -= int64_t(ids.size());
    out.push_back(std::move(ids));
  };
  if (o.data == "demo") {
    const DemoCorpus corpus{1};
    for (int64_t i = 0; left > 0; ++i) {
      const DemoSample s = corpus.sample(Split::validation, i);
      add(s.prompt + s.answer);
    }
  } else {
    add(read_file(o.data));
  }
  return out;
}

double loss_of(const TransformerLM& model, const Sequences& data) {
  return evaluate_sequences(model, data, nullptr).loss;
}

std::vector<std::vector<double>> usage_of(const TransformerLM& model, const Sequences& data) {
  std::vector<LabelledSequence> labelled;
  for (const std::vector<int32_t>& ids : data) labelled.push_back({ids, 0});
  std::vector<std::vector<double>> out;
  for (const ExpertLayerReport& layer : report_experts(model, labelled, nullptr, {}).layers)
    out.push_back(layer.load_E);
  return out;
}

// Frobenius norms of the experts' matrices in place of their use.
std::vector<std::vector<double>> norms_of(const TransformerLM& model) {
  std::vector<std::vector<double>> out;
  int64_t last_layer = -1;
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) {
      const size_t found = piece.name.find(".experts.");
      if (found == std::string::npos) continue;
      const int64_t layer = std::stoll(piece.name.substr(13)),
                    expert = std::stoll(piece.name.substr(found + 9));
      if (layer != last_layer)
        out.emplace_back(size_t(model.config().moe.n_experts), 0.0), last_layer = layer;
      const Tensor w = read_piece(p.var.value(), piece);
      for (const float x : w.data<float>()) out.back()[size_t(expert)] += double(x) * double(x);
    }
  return out;
}

// Largest difference of two models' logits on the data.
double largest_difference(const TransformerLM& a, const TransformerLM& b, const Sequences& data) {
  double most = 0;
  for (const std::vector<int32_t>& ids : data) {
    std::vector<int32_t> head = ids;
    head.resize(std::min<size_t>(head.size(), size_t(a.config().max_seq_len)));
    if (head.empty()) continue;
    const ForwardContext ctx = pack_sequences({head});
    const Tensor x = a.logits(a(ctx).hidden_TD).value(), y = b.logits(b(ctx).hidden_TD).value();
    for (size_t i = 0; i < size_t(x.numel()); ++i)
      most = std::max(most, double(std::fabs(x.data<float>()[i] - y.data<float>()[i])));
  }
  return most;
}

using Operation = std::unique_ptr<TransformerLM> (*)(const TransformerLM&, const SurgeryOptions&,
                                                     const Sequences&);

std::vector<std::vector<double>> ranking(const TransformerLM& model, const SurgeryOptions& o,
                                         const Sequences& data) {
  return o.by == "norm" ? norms_of(model) : usage_of(model, data);
}

int operate(const SurgeryOptions& o, const char* name, Operation operation) {
  o.machine.apply();
  MOE_CHECK(!exists(o.out) || (is_directory(o.out) && list_directory(o.out).empty()), "[", name,
            "] ", printable(o.out), " exists; name a new folder with --out");
  const ModelFolder folder = load_model_folder(o.folder);
  const Sequences data = read_data(o, folder);
  const double before = loss_of(*folder.model, data);
  const std::unique_ptr<TransformerLM> model = operation(*folder.model, o, data);
  const double after = loss_of(*model, data);
  JsonObject receipt = {
      {"operation", name},
      {"from", folder.path},
      {"data", o.data},
      {"tokens", o.tokens},
      {"loss_before", before},
      {"loss_after", after},
      {"parameters_before", int64_t(count_parameters(folder.model->config()).total)},
      {"parameters_after", int64_t(count_parameters(model->config()).total)},
      {"active_before", int64_t(count_parameters(folder.model->config()).active)},
      {"active_after", int64_t(count_parameters(model->config()).active)}};
  const bool is_upcycle = std::string(name) == "upcycle";
  if (is_upcycle)
    receipt["largest_logit_difference"] = largest_difference(*folder.model, *model, data);
  make_directories(real_fs(), o.out);
  CheckpointWriter writer(real_fs(), o.out, 0);
  write_model_files(
      [&](const std::string& file, const ByteProducer& content) { writer.add_file(file, content); },
      *model, folder.tokenizer.get(), folder.eos_ids,
      {.title = str("moe.cpp model, ", name),
       .text = str("Made with `moe ", name,
                   "`; receipt.json has the losses before and "
                   "after.\n"),
       .license = {},
       .language = {},
       .base_model = {},
       .datasets = {}});
  writer.add_file("receipt.json", to_json_pretty(receipt));
  const std::string path = writer.commit(1);
  receipt["path"] = path;
  if (o.json) {
    print_json(receipt);
    return 0;
  }
  print_line(fmt::format("loss on {} tokens of {}: {:.4f} before, {:.4f} after",
                         with_commas(o.tokens), o.data, before, after));
  if (is_upcycle)
    print_line(fmt::format("largest difference of a logit from the dense model: {:.3g}",
                           receipt["largest_logit_difference"].as_double()));
  print_line(fmt::format("{} parameters before, {} after ({} and {} active)",
                         with_commas(receipt["parameters_before"].as_int64()),
                         with_commas(receipt["parameters_after"].as_int64()),
                         with_commas(receipt["active_before"].as_int64()),
                         with_commas(receipt["active_after"].as_int64())));
  print_line("wrote " + path + "; train on with: moe train model.init_from=" + o.out);
  return 0;
}

std::shared_ptr<SurgeryOptions> add_common(CLI::App& app) {
  auto o = std::make_shared<SurgeryOptions>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  app.add_option("--out", o->out, "new folder of the result")->required();
  app.add_option("--data", o->data, "text for the losses and the experts' use, or demo")
      ->capture_default_str();
  app.add_option("--tokens", o->tokens, "at most so many tokens of it")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 32))
      ->capture_default_str();
  app.add_flag("--json", o->json, "the receipt as one JSON object");
  o->machine.add(app);
  return o;
}

CLI::Validator count() { return CLI::Range(int64_t{1}, int64_t{65536}); }

}  // namespace

RunCommand add_upcycle(CLI::App& app) {
  const auto o = add_common(app);
  app.add_option("--experts", o->experts, "copies of the dense network")
      ->check(count())
      ->capture_default_str();
  app.add_option("--top-k", o->top_k, "copies a token takes")
      ->check(count())
      ->capture_default_str();
  app.add_option("--split", o->split, "experts that each copy is cut into")
      ->check(count())
      ->capture_default_str();
  app.add_option("--layers", o->layers,
                 "which blocks: all | [2,5] | every:2 | first_dense:1 | 16-31")
      ->capture_default_str();
  add_seed_option(app, "--seed", o->seed, "seed of the router");
  return [o] {
    return operate(*o, "upcycle",
                   [](const TransformerLM& m, const SurgeryOptions& s, const Sequences&) {
                     return upcycle(m, {.copies = s.experts,
                                        .top_k = s.top_k,
                                        .split = s.split,
                                        .layers = s.layers,
                                        .seed = uint64_t(s.seed)});
                   });
  };
}

RunCommand add_prune(CLI::App& app) {
  const auto o = add_common(app);
  app.add_option("--experts", o->experts, "experts to keep in each layer")
      ->check(count())
      ->required();
  app.add_option("--by", o->by,
                 "what keeps an expert: usage on the data, or the norm of its weights")
      ->check(CLI::IsMember({"usage", "norm"}))
      ->capture_default_str();
  return [o] {
    return operate(*o, "prune",
                   [](const TransformerLM& m, const SurgeryOptions& s, const Sequences& data) {
                     return prune_experts(m, s.experts, ranking(m, s, data));
                   });
  };
}

RunCommand add_merge_experts(CLI::App& app) {
  const auto o = add_common(app);
  app.add_option("--experts", o->experts, "experts to be left in each layer")
      ->check(count())
      ->required();
  return [o] {
    return operate(*o, "merge-experts",
                   [](const TransformerLM& m, const SurgeryOptions& s, const Sequences& data) {
                     return merge_experts(m, s.experts, usage_of(m, data));
                   });
  };
}

RunCommand add_densify(CLI::App& app) {
  const auto o = add_common(app);
  return [o] {
    return operate(*o, "densify",
                   [](const TransformerLM& m, const SurgeryOptions&, const Sequences& data) {
                     return densify(m, usage_of(m, data));
                   });
  };
}

}  // namespace moe
