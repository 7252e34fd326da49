// SPDX-License-Identifier: MIT
#include "moe/train/metrics.h"

#include <cmath>
#include <numeric>

#include "moe/base/log.h"
#include "moe/report/heat_map.h"
#include "moe/report/line_chart.h"

namespace moe {
namespace {

std::vector<double> load_shares(const RouterStats& stats) {
  const double total =
      double(std::accumulate(stats.counts_E.begin(), stats.counts_E.end(), int64_t{0}));
  std::vector<double> shares;
  for (const int64_t count : stats.counts_E)
    shares.push_back(total > 0 ? double(count) / total : 0);
  return shares;
}

// The object of one step; nothing for a line that a crash cut short.
std::optional<Json> parse_line(const std::string& line) {
  boost::json::error_code error;
  Json value = boost::json::parse(line, error);
  if (error || !value.is_object() || !value.get_object().contains("step")) return std::nullopt;
  return value;
}

std::vector<std::string> numbered(const std::string& prefix, size_t n) {
  std::vector<std::string> out;
  for (size_t i = 0; i < n; ++i) out.push_back(prefix + std::to_string(i));
  return out;
}

// Layer x expert load, and one expert x subject map per layer: the share of each expert's tokens
// that a subject makes.
std::string expert_maps(const std::string& title, const EvalResult& e,
                        const std::vector<std::string>& subjects) {
  std::vector<HeatMap> panels;
  HeatMap load{.title = "share of the picks that each expert takes",
               .row_label = "layer",
               .column_label = "expert",
               .rows = {},
               .columns = {},
               .values = {},
               .format = {.decimals = 0, .percent = true}};
  size_t widest = 0;
  for (const LayerLoad& layer : e.experts) widest = std::max(widest, layer.stats.counts_E.size());
  load.columns = numbered("", widest);
  for (const LayerLoad& layer : e.experts) {
    load.rows.push_back(std::to_string(layer.layer));
    load.values.push_back(load_shares(layer.stats));
    load.values.back().resize(widest, std::nan(""));
  }
  panels.push_back(load);
  for (size_t i = 0; i < e.subject_counts.size(); ++i) {
    HeatMap map{.title = str("layer ", e.experts[i].layer, ": what each expert's tokens are about"),
                .row_label = "expert",
                .column_label = "subject",
                .rows = numbered("", e.subject_counts[i].size()),
                .columns = subjects,
                .values = {},
                .format = {.decimals = 0, .percent = true}};
    map.min = 0;
    map.max = 1;
    for (const std::vector<int64_t>& row : e.subject_counts[i]) {
      const double total = double(std::accumulate(row.begin(), row.end(), int64_t{0}));
      std::vector<double> shares;
      for (const int64_t count : row)
        shares.push_back(total > 0 ? double(count) / total : std::nan(""));
      map.values.push_back(shares);
    }
    panels.push_back(map);
  }
  return heat_maps(title, panels);
}

}  // namespace

JsonObject metrics_object(const StepResult& s, double tokens_per_second,
                          const std::optional<EvalResult>& evaluation) {
  JsonObject o = {{"step", s.step},
                  {"loss", s.loss},
                  {"lm_loss", s.lm_loss},
                  {"aux_loss", s.aux_loss},
                  {"z_loss", s.z_loss},
                  {"grad_norm", s.grad_norm},
                  {"lr", s.lr},
                  {"tokens", s.tokens},
                  {"tokens_per_second", tokens_per_second}};
  if (!s.expert_norms.empty()) {
    JsonArray layers;
    for (const std::vector<double>& norms : s.expert_norms)
      layers.push_back(JsonArray(norms.begin(), norms.end()));
    o["expert_grad_norms"] = layers;
  }
  if (s.skipped) o["skipped"] = true;
  if (s.loss_scale > 0) o["loss_scale"] = s.loss_scale;
  if (!s.revived.empty()) {
    JsonArray revived;
    for (const RevivedExpert& r : s.revived)
      revived.push_back(JsonObject{{"layer", r.layer}, {"expert", r.expert}, {"from", r.from}});
    o["revived_experts"] = revived;
  }
  if (evaluation) o["val_loss"] = evaluation->loss;
  JsonArray experts;
  for (const LayerLoad& layer : s.experts) {
    JsonArray shares;
    for (const double share : load_shares(layer.stats)) shares.push_back(share);
    experts.push_back(shares);
  }
  o["experts"] = experts;
  if (s.experts.empty()) return o;
  const LoadSummary load = summarize_load(s.experts);
  o["max_violation"] = load.max_violation;
  o["load_cv"] = load.cv;
  o["load_entropy"] = load.entropy;
  o["router_entropy"] = load.router_entropy;
  o["dead_experts"] = load.dead;
  o["dropped"] = load.dropped;
  o["drop_rate"] = load.drop_rate;
  for (size_t e = 0; e < load.usage_E.size(); ++e) o[str("expert_", e, "_usage")] = load.usage_E[e];
  return o;
}

LoadSummary summarize_load(const std::vector<LayerLoad>& experts) {
  LoadSummary out;
  int64_t picked = 0;
  const double layers = double(experts.size());
  for (const LayerLoad& layer : experts) {
    const std::vector<double> shares = load_shares(layer.stats);
    const double E = double(shares.size());
    double entropy = 0, squares = 0, most = 0;
    for (const double p : shares) {
      entropy -= p > 0 ? p * std::log(p) : 0;
      squares += (p - 1 / E) * (p - 1 / E) / E;
      most = std::max(most, p);
      out.dead += p < 0.01 / E;
    }
    out.entropy += (shares.size() > 1 ? entropy / std::log(E) : 1) / layers;
    out.cv += std::sqrt(squares) * E / layers;
    out.max_violation = std::max(out.max_violation, most * E - 1);
    const double tokens = double(std::max<int64_t>(1, layer.stats.n_tokens));
    out.router_entropy += layer.stats.entropy_sum / tokens / layers;
    for (const int64_t n : layer.stats.counts_E) picked += n;
    for (const int64_t n : layer.stats.dropped_E) out.dropped += n;
    out.usage_E.resize(std::max(out.usage_E.size(), shares.size()), 0);
    for (size_t e = 0; e < shares.size(); ++e) out.usage_E[e] += shares[e] / layers;
  }
  out.drop_rate = picked > 0 ? double(out.dropped) / double(picked) : 0;
  return out;
}

double expert_balance(const std::vector<LayerLoad>& experts) {
  return experts.empty() ? 1 : summarize_load(experts).entropy;
}

MetricsLog::MetricsLog(Fs& fs, const std::string& run_dir, int64_t first_step, double unix_seconds)
    : fs_(fs), run_dir_(run_dir) {
  const std::string path = join_path(run_dir, "metrics.jsonl");
  std::string kept;
  const bool has_log = exists(path);
  if (first_step > 1 && has_log)
    for (const std::string& line : split(read_file(path), '\n')) {
      const std::optional<Json> value = parse_line(line);
      if (!value) continue;
      const JsonReader reader(value->get_object(), "[metrics.jsonl] " + path);
      const int64_t step = reader.integer("step");
      if (step >= first_step) continue;
      kept += line + "\n";
      steps_.push_back(double(step));
      losses_.push_back(reader.number_or("lm_loss", std::nan("")));
      if (reader.has("val_loss")) {
        val_steps_.push_back(double(step));
        val_losses_.push_back(reader.number("val_loss"));
      }
    }
  write_file_atomic(fs, path, kept);
  file_ = fs.append(path);
  if (has_log) drop_events_from(fs, run_dir, first_step);
  TensorBoardOptions options{.wall_time_seconds = unix_seconds};
  if (first_step > 1) options.resume_at_step = first_step;
  events_ = std::make_unique<TensorBoardWriter>(fs, run_dir, options);
}

MetricsLog::~MetricsLog() {
  try {
    if (file_) file_->close();
  } catch (const Error& e) {
    log_warning(e.what());
  }
}

void MetricsLog::add(const JsonObject& m, double unix_seconds) {
  const std::string line = to_json_line(m) + "\n";
  file_->write(as_bytes(line));
  const int64_t step = m.at("step").as_int64();
  for (const char* key :
       {"loss", "lm_loss", "aux_loss", "z_loss", "grad_norm", "lr", "tokens_per_second"})
    events_->scalar(str("train/", key), float(m.at(key).as_double()), step, unix_seconds);
  steps_.push_back(double(step));
  losses_.push_back(m.at("lm_loss").as_double());
  if (const Json* val = m.if_contains("val_loss")) {
    events_->scalar("val/loss", float(val->as_double()), step, unix_seconds);
    val_steps_.push_back(double(step));
    val_losses_.push_back(val->as_double());
  }
  for (const char* key : {"max_violation", "load_cv", "load_entropy", "router_entropy",
                          "dead_experts", "dropped", "drop_rate"})
    if (const Json* value = m.if_contains(key))
      events_->scalar(str("experts/", key), value->to_number<float>(), step, unix_seconds);
  const JsonArray& experts = m.at("experts").as_array();
  for (size_t layer = 0; layer < experts.size(); ++layer) {
    // Utilisation ratio: load / (1 / E), 1 is fair, 0 is dead.
    const JsonArray& shares = experts[layer].as_array();
    double most = 0, least = 1;
    for (const Json& share : shares) {
      most = std::max(most, share.as_double());
      least = std::min(least, share.as_double());
    }
    events_->scalar(str("experts/layer_", layer, "/max_utilization"),
                    float(most * double(shares.size())), step, unix_seconds);
    events_->scalar(str("experts/layer_", layer, "/min_utilization"),
                    float(least * double(shares.size())), step, unix_seconds);
  }
}

void MetricsLog::write_plots(const std::optional<EvalResult>& evaluation,
                             const std::vector<LayerLoad>& trained,
                             const std::vector<std::string>& subject_names) {
  LineChart chart{.title = "Loss",
                  .x_label = "step",
                  .y_label = "nats per token",
                  .series = raw_and_smoothed("training", steps_, losses_, 0)};
  if (!val_steps_.empty())
    chart.series.push_back({.name = "validation", .xs = val_steps_, .ys = val_losses_, .color = 1});
  write_file_atomic(fs_, join_path(run_dir_, "loss.svg"), line_chart(chart));
  const std::string experts = join_path(run_dir_, "experts.svg");
  if (evaluation && !evaluation->experts.empty()) {
    write_file_atomic(fs_, experts,
                      expert_maps("Experts on the validation split", *evaluation, subject_names));
  } else if (!trained.empty()) {
    EvalResult loads;
    loads.experts = trained;
    write_file_atomic(fs_, experts, expert_maps("Experts in the last training step", loads, {}));
  }
}

void MetricsLog::flush() { events_->flush(); }

void MetricsLog::sync() {
  file_->sync();
  events_->sync();
}

std::optional<double> last_logged_loss(const std::string& run_dir) {
  const std::string path = join_path(run_dir, "metrics.jsonl");
  std::optional<double> loss;
  if (!exists(path)) return loss;
  for (const std::string& line : split(read_file(path), '\n'))
    if (const std::optional<Json> value = parse_line(line))
      if (const Json* found = value->get_object().if_contains("loss"); found && found->is_double())
        loss = found->get_double();
  return loss;
}

}  // namespace moe
