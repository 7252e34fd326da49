// SPDX-License-Identifier: MIT
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/progress.h"
#include "moe/data/demo_corpus.h"
#include "moe/eval/expert_report.h"
#include "moe/families/model_folder.h"
#include "moe/report/heat_map.h"
#include "moe/report/html.h"
#include "moe/report/table.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

constexpr size_t kMostTokens = 20;  // rows of the token map

struct Input {
  std::vector<LabelledSequence> sequences;
  std::vector<std::string> categories;
};

// Pieces of a text of at most `window` tokens, up to `limit` tokens in all.
void add_text(const std::string& text, int32_t category, const Tokenizer& tokenizer, size_t window,
              int64_t& left, Input& input) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  for (size_t begin = 0; begin < ids.size() && left > 0; begin += window) {
    const size_t n = std::min({window, ids.size() - begin, size_t(left)});
    input.sequences.push_back(
        {{ids.begin() + int64_t(begin), ids.begin() + int64_t(begin + n)}, category});
    left -= int64_t(n);
  }
}

// A file, a folder (one subject a file) or the built-in corpus (its own subjects).
Input read_input(const std::string& path, const ModelFolder& folder, int64_t limit, int64_t seed) {
  const Tokenizer& tokenizer = folder.need_tokenizer();
  const size_t window = size_t(folder.model->config().max_seq_len);
  Input input;
  if (path == "demo") {
    input.categories = demo_subject_names();
    const DemoCorpus corpus{uint64_t(seed)};
    int64_t left = limit;
    for (int64_t i = 0; left > 0; ++i) {
      const DemoSample s = corpus.sample(Split::validation, i);
      add_text(s.prompt + s.answer, s.subject, tokenizer, window, left, input);
    }
    return input;
  }
  std::vector<std::string> files;
  if (is_directory(path))
    for (const std::string& name : list_directory(path)) {
      const std::string file = join_path(path, name);
      if (!is_directory(file)) files.push_back(file);
    }
  else
    files.push_back(path);
  MOE_CHECK(!files.empty(), "[experts] ", printable(path), " holds no file");
  for (size_t i = 0; i < files.size(); ++i) {
    int64_t left = std::max<int64_t>(1, limit / int64_t(files.size()));
    input.categories.push_back(file_name(files[i]));
    add_text(read_file(files[i]), int32_t(i), tokenizer, window, left, input);
  }
  return input;
}

// The most frequent tokens as categories, the rest as one.
struct TokenCategories {
  std::map<int32_t, int32_t> of_id;
  std::vector<std::string> names;

  TokenCategories(const Input& input, const Tokenizer& tokenizer) {
    std::map<int32_t, int64_t> counts;
    for (const LabelledSequence& s : input.sequences)
      for (const int32_t id : s.ids) ++counts[id];
    std::vector<std::pair<int64_t, int32_t>> order;
    for (const auto& [id, n] : counts) order.emplace_back(-n, id);
    std::sort(order.begin(), order.end());
    for (size_t i = 0; i < std::min(kMostTokens, order.size()); ++i) {
      of_id[order[i].second] = int32_t(names.size());
      names.push_back("'" + printable(tokenizer.token_bytes(order[i].second), 12) + "'");
    }
    names.emplace_back("others");
  }
  int32_t operator()(int32_t id) const {
    const auto it = of_id.find(id);
    return it == of_id.end() ? int32_t(names.size()) - 1 : it->second;
  }
};

std::vector<std::string> numbers(size_t n) {
  std::vector<std::string> out;
  for (size_t i = 0; i < n; ++i) out.push_back(std::to_string(i));
  return out;
}

HeatMap load_map(const ExpertReport& r) {
  HeatMap map{.title = "share of the picks that each expert takes",
              .row_label = "layer",
              .column_label = "expert",
              .format = {.decimals = 1, .percent = true}};
  size_t widest = 0;
  for (const ExpertLayerReport& l : r.layers) widest = std::max(widest, l.load_E.size());
  map.columns = numbers(widest);
  for (const ExpertLayerReport& l : r.layers) {
    map.rows.push_back(std::to_string(l.layer));
    map.values.push_back(l.load_E);
    map.values.back().resize(widest, std::nan(""));
  }
  return map;
}

HeatMap category_map(const ExpertLayerReport& l, const std::vector<std::string>& categories,
                     const std::string& by) {
  HeatMap map{.title = str("layer ", l.layer, ": which experts each ", by, " goes to"),
              .row_label = by,
              .column_label = "expert",
              .rows = categories,
              .columns = numbers(l.counts_EC.size()),
              .format = {.decimals = 0, .percent = true}};
  map.min = 0;
  for (size_t c = 0; c < categories.size(); ++c) {
    double total = 0;
    for (const auto& row : l.counts_EC) total += row[c];
    std::vector<double> shares;
    for (const auto& row : l.counts_EC) shares.push_back(total > 0 ? row[c] / total : std::nan(""));
    map.values.push_back(shares);
  }
  return map;
}

HeatMap together_map(const ExpertLayerReport& l) {
  HeatMap map{.title = str("layer ", l.layer,
                           ": of the tokens of a row's expert, how many also take "
                           "the column's"),
              .row_label = "expert",
              .column_label = "expert",
              .rows = numbers(l.together_EE.size()),
              .columns = numbers(l.together_EE.size()),
              .values = l.together_EE,
              .format = {.decimals = 0, .percent = true}};
  for (size_t e = 0; e < map.values.size(); ++e) map.values[e][e] = std::nan("");
  return map;
}

HeatMap mask_map(const ExpertReport& r, size_t layer) {
  HeatMap map{.title = str("layer ", r.layers[layer].layer, ": experts of the first tokens"),
              .row_label = "token",
              .column_label = "expert",
              .columns = numbers(r.layers[layer].load_E.size()),
              .values = r.mask_LTE[layer],
              .format = {.decimals = 0}};
  map.min = 0, map.max = 1;
  for (size_t t = 0; t < r.mask_tokens.size(); ++t)
    map.rows.push_back(str(t, " '", printable(r.mask_tokens[t], 12), "'"));
  return map;
}

JsonArray array_of(const std::vector<double>& v) { return JsonArray(v.begin(), v.end()); }
JsonArray array_of(const std::vector<std::vector<double>>& rows) {
  JsonArray out;
  for (const auto& row : rows) out.push_back(array_of(row));
  return out;
}

JsonObject to_json(const ExpertReport& r, const std::string& by) {
  JsonArray layers;
  for (size_t i = 0; i < r.layers.size(); ++i) {
    const ExpertLayerReport& l = r.layers[i];
    JsonObject o = {{"layer", l.layer},
                    {"load", array_of(l.load_E)},
                    {"max_violation", l.max_violation},
                    {"cv", l.cv},
                    {"load_entropy", l.entropy},
                    {"router_entropy", l.router_entropy},
                    {"top1_mass", l.top1_mass},
                    {"margin", l.margin},
                    {"dead_experts", JsonArray(l.dead.begin(), l.dead.end())},
                    {"dropped", l.dropped},
                    {"coactivation", array_of(l.together_EE)},
                    {"counts", array_of(l.counts_EC)}};
    if (i < r.specialization.nmi_of_layer.size()) o["nmi"] = r.specialization.nmi_of_layer[i];
    layers.push_back(o);
  }
  JsonObject out = {{"tokens", r.tokens},
                    {"by", by},
                    {"categories", JsonArray(r.categories.begin(), r.categories.end())},
                    {"layers", layers}};
  if (r.specialization.n_shuffles > 0)
    out["specialization"] = JsonObject{{"nmi", r.specialization.nmi},
                                       {"shuffled_mean", r.specialization.shuffled_mean},
                                       {"shuffled_p99", r.specialization.shuffled_p99},
                                       {"shuffles", r.specialization.n_shuffles},
                                       {"significant", r.is_significant}};
  JsonArray mask;
  for (const auto& layer : r.mask_LTE) mask.push_back(array_of(layer));
  JsonArray tokens;
  for (const std::string& t : r.mask_tokens) tokens.push_back(Json(printable(t)));
  out["dispatch_mask"] = JsonObject{{"tokens", tokens}, {"layers", mask}};
  return out;
}

std::string table_text(const ExpertReport& r) {
  Table table({"layer", "max violation", "CV", "load entropy", "router entropy", "top-1 mass",
               "margin", "dead", "dropped"});
  for (const ExpertLayerReport& l : r.layers)
    table.row({str(l.layer), fmt::format("{:.3f}", l.max_violation), fmt::format("{:.3f}", l.cv),
               fmt::format("{:.3f}", l.entropy), fmt::format("{:.3f}", l.router_entropy),
               fmt::format("{:.3f}", l.top1_mass), fmt::format("{:.3f}", l.margin),
               str(l.dead.size()), str(l.dropped)});
  return table.text();
}

std::string specialization_text(const ExpertReport& r, const std::string& by) {
  const Specialization& s = r.specialization;
  if (s.n_shuffles == 0) return "";
  return fmt::format(
      "Normalised mutual information of expert and {}, mean over layers: {:.4f}\n  of {} shuffles: "
      "mean {:.4f}, 99th percentile {:.4f} -> {}",
      by, s.nmi, s.n_shuffles, s.shuffled_mean, s.shuffled_p99,
      r.is_significant ? "the experts specialise" : "no more than chance");
}

void write_html(const ExpertReport& r, const std::string& by, const std::string& title,
                const std::string& path) {
  std::vector<HtmlSection> sections;
  const HeatMap load = load_map(r);
  sections.push_back({"Load", table_text(r), heat_maps("", {&load, 1})});
  if (r.categories.size() > 1) {
    std::vector<HeatMap> maps;
    for (const ExpertLayerReport& l : r.layers) maps.push_back(category_map(l, r.categories, by));
    sections.push_back({"By " + by, specialization_text(r, by), heat_maps("", maps)});
  }
  std::vector<HeatMap> together, masks;
  for (size_t i = 0; i < r.layers.size(); ++i) {
    together.push_back(together_map(r.layers[i]));
    masks.push_back(mask_map(r, i));
  }
  sections.push_back({"Who works together", "", heat_maps("", together)});
  sections.push_back({"Where the first tokens go", "", heat_maps("", masks)});
  write_file_atomic(real_fs(), path, html_page(title, sections));
}

}  // namespace

RunCommand add_experts(CLI::App& app) {
  struct Options {
    std::string folder, data, by = "subject", html;
    int64_t tokens = 16384, shuffles = 200, seed = 1;
    bool json = false;
    MachineOptions machine;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder, "run folder, checkpoint or Hugging Face folder")->required();
  app.add_option("--data", o->data,
                 "text file; a folder, each file a subject; or demo, the built-in corpus")
      ->required();
  app.add_option(
         "--by", o->by,
         "what experts may take up: subject, token, language (script of the token) or layer")
      ->check(CLI::IsMember({"subject", "token", "language", "layer"}))
      ->capture_default_str();
  app.add_option("--html", o->html, "a page with heat maps that say their values when pointed at");
  app.add_option("--tokens", o->tokens, "at most so many tokens are read")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32))
      ->capture_default_str();
  app.add_option("--shuffles", o->shuffles, "shuffles of the categories that tell chance")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  add_seed_option(app, "--seed", o->seed, "seed of the shuffles and of the built-in corpus");
  app.add_flag("--json", o->json, "one JSON object");
  o->machine.add(app);
  return [o] {
    o->machine.apply();
    const ModelFolder folder = load_model_folder(o->folder);
    MOE_CHECK(folder.model->config().has_moe, "[experts] ", printable(o->folder),
              " is a dense model; it has no experts");
    const Input input = read_input(o->data, folder, o->tokens, o->seed);
    ProgressLine progress(o->json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
    ExpertReportOptions options;
    options.n_shuffles = o->shuffles;
    options.seed = uint64_t(o->seed);
    options.progress = [&](double done) {
      progress.update(progress_bar(done, 20) + " routing tokens");
    };
    const TokenCategories tokens(input, folder.need_tokenizer());
    if (o->by == "subject") options.categories = input.categories;
    if (o->by == "token") {
      options.categories = tokens.names;
      options.category_of = [&](int32_t id) { return tokens(id); };
    }
    if (o->by == "language") {
      options.categories = script_names();
      options.category_of = [&](int32_t id) {
        return script_of(folder.need_tokenizer().token_bytes(id));
      };
    }
    const ExpertReport report =
        report_experts(*folder.model, input.sequences, folder.tokenizer.get(), options);
    progress.finish();
    if (!o->html.empty()) write_html(report, o->by, "Experts of " + folder.path, o->html);
    if (o->json) {
      print_json(to_json(report, o->by));
      return 0;
    }
    const TerminalStyle style{.color = wants_color(1)};
    print_line(str(with_commas(report.tokens), " tokens of ", printable(o->data), "\n"));
    print_line(terminal_heat_map(load_map(report), style));
    print_line(table_text(report));
    if (report.categories.size() > 1) {
      // The layer where it shows most.
      size_t best = 0;
      const std::vector<double>& nmi = report.specialization.nmi_of_layer;
      for (size_t i = 1; i < nmi.size(); ++i)
        if (nmi[i] > nmi[best]) best = i;
      print_line(
          terminal_heat_map(category_map(report.layers[best], report.categories, o->by), style));
      print_line(specialization_text(report, o->by));
    } else if (o->by == "subject") {
      print_line("one file is one subject; give a folder, or --by token or language");
    }
    if (!o->html.empty()) print_line("wrote " + o->html);
    return 0;
  };
}

}  // namespace moe
