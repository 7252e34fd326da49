// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>
#include <memory>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/families/model_folder.h"
#include "moe/optim/optimizer.h"
#include "moe/report/table.h"
#include "moe/study/presets.h"
#include "moe/study/shapes.h"
#include "moe/train/run_config.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Hardware {
  const char* name;
  double tera_flops;  // dense, 16-bit, of one device, as its data sheet says
  double memory_gb;
};
constexpr Hardware kHardware[] = {{"h100", 989, 80},
                                  {"h200", 989, 141},
                                  {"a100", 312, 80},
                                  {"l4", 121, 24},
                                  {"rtx4090", 165, 24}};

struct CalcOptions {
  std::string what, second, dtype = "f32", optimizer = "adamw", hardware = "h100";
  std::vector<std::string> key_values;
  int64_t batch = 1, seq = 0, gpus = 1;
  double tokens = 0, mfu = 0.4, price = 0;
  bool json = false, list = false, check = false, train = false;
};

double bytes_of(const std::string& dtype) {
  if (dtype == "f32") return 4;
  if (dtype == "bf16" || dtype == "f16") return 2;
  if (dtype == "int8") return 1;
  return 4.5 / 8;  // q4_0: 18 bytes for 32 numbers
}

std::string billions(double n) {
  if (n >= 1e12) return fmt::format("{:.2f} T", n / 1e12);
  if (n >= 1e9) return fmt::format("{:.2f} B", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.2f} M", n / 1e6);
  return fmt::format("{:.0f}", n);
}
std::string whole(double n) { return with_commas(int64_t(n)); }
std::string gigabytes(double bytes) { return fmt::format("{:.2f} GB", bytes / 1e9); }

int run_list(bool json) {
  Table table({"preset", "total", "active", "source"});
  JsonArray all;
  for (const Preset& p : presets()) {
    JsonObject o = {{"name", p.name}, {"source", p.source}};
    std::string total = "unknown", active = "unknown";
    if (!p.keys.empty()) {
      const ParameterCount n = count_parameters(counted_model(p, {}));
      total = billions(n.total);
      active = billions(n.active);
      o["total_parameters"] = int64_t(n.total);
      o["active_parameters"] = int64_t(n.active);
    } else {
      if (p.published_total > 0) total = billions(p.published_total);
      if (p.published_active > 0) active = billions(p.published_active);
    }
    if (p.published_total > 0) o["published_total"] = p.published_total;
    if (p.published_active > 0) o["published_active"] = p.published_active;
    table.row({p.name, total, active, p.source});
    all.push_back(o);
  }
  if (json)
    print_json({{"presets", all}});
  else
    print_line(table.text());
  return 0;
}

// One feed-forward network with biases, four times as wide inside.
int run_ffn(const std::string& width, bool json) {
  int64_t d = 0;
  try {
    size_t used = 0;
    d = std::stoll(width, &used);
    if (used != width.size()) d = 0;
  } catch (const std::exception&) {
    d = 0;
  }
  if (d < 1 || d > (int64_t{1} << 24))
    throw Error(str("[calc] ffn takes a width from 1 to 16,777,216, not '", printable(width, 40),
                    "'; for example: moe calc ffn 256"),
                ExitCode::usage);
  const int64_t hidden = 4 * d, matrices = 2 * d * hidden, biases = hidden + d;
  if (json)
    print_json({{"d_model", d},
                {"d_ff", hidden},
                {"total_parameters", matrices + biases},
                {"without_biases", matrices}});
  else
    print_line(
        fmt::format("feed-forward network {0} -> {1} -> {0}: {2} parameters ({3} in two "
                    "matrices, {4} biases)",
                    with_commas(d), with_commas(hidden), with_commas(matrices + biases),
                    with_commas(matrices), with_commas(biases)));
  return 0;
}

// Known by its publication alone.
int run_published(const Preset& p, bool json) {
  const auto known = [](double n) { return n > 0 ? Json(n) : Json("unknown"); };
  if (json) {
    print_json({{"name", p.name},
                {"source", p.source},
                {"total_parameters", known(p.published_total)},
                {"active_parameters", known(p.published_active)},
                {"note", p.note}});
    return 0;
  }
  const auto text = [](double n) { return n > 0 ? billions(n) : std::string("unknown"); };
  print_line(p.name + " (" + p.source + ")\n  " + p.note + "\n  total " + text(p.published_total) +
             ", active " + text(p.published_active) + ", as published");
  return 0;
}

struct Target {
  CountedModel model;
  std::string title;
  int64_t seq_len = 256;
  const Preset* preset = nullptr;
};

Target target_of(const CalcOptions& o) {
  Target t;
  const bool is_yaml = o.what.ends_with(".yaml") || o.what.ends_with(".yml");
  if (is_yaml) {
    const RunConfig c = read_run_config({.file = o.what, .overrides = o.key_values});
    t = {{c.model}, o.what, c.data.seq_len};
  } else if (o.what.find('/') == std::string::npos && !exists(o.what)) {
    const Preset& p = find_preset(o.what);
    if (p.keys.empty()) return {{}, p.name, 0, &p};
    t = {counted_model(p, o.key_values), p.name + " (" + p.source + ")", 0, &p};
    t.seq_len = t.model.config.max_seq_len;
  } else {
    const std::string folder = resolve_model_folder(o.what);
    t = {{read_model_config(folder)}, folder, 0};
    t.seq_len = std::min<int64_t>(256, t.model.config.max_seq_len);
  }
  if (t.model.config.vocab_size == 0) t.model.config.vocab_size = 256;  // the byte tokenizer's
  if (o.seq > 0) t.seq_len = o.seq;
  return t;
}

int run_calc(const CalcOptions& o) {
  const Target t = target_of(o);
  if (t.preset && t.preset->keys.empty()) return run_published(*t.preset, o.json);
  const ModelConfig& c = t.model.config;
  const ParameterCount n = count_parameters(t.model);
  const double D = double(c.d_model), V = double(c.vocab_size),
               tied = c.tie_embeddings ? n.total : n.total - V * D;
  // What every token uses: all but the routed experts.
  double routed = 0;
  if (c.has_moe) {
    const FeedForwardShape shape = expert_shape(c);
    double expert = 0;
    for (const auto& [out, in] : shape.matrices(c.d_model))
      expert += double(out) * double(in) + (shape.bias ? double(out) : 0);
    for (const LayerConfig& layer : resolve_layers(c))
      routed += layer.moe ? expert * double(c.moe.n_experts) : 0;
  }
  const double shared = n.total - routed;
  // Matrix products: the configuration's attention, corrected where latent attention replaces it.
  const double matrix = active_matrix_parameters(c) + (n.active - count_parameters(c).active);
  const double attention = train_flop_per_token(c, t.seq_len) / 3 - 2 * active_matrix_parameters(c),
               forward = 2 * matrix + attention, training = 3 * forward;
  const double weight = bytes_of(o.dtype), weights = n.total * weight,
               kv_token = kv_numbers_per_token(t.model) * std::max(2.0, weight),
               kv = kv_token * double(o.batch) * double(t.seq_len);
  OptimConfig optim;
  optim.name = o.optimizer;
  const double slots = double(optimizer_slots(optim));
  const std::vector<MemoryPart> step = training_memory(c, o.batch, t.seq_len, int(slots));
  double step_bytes = total_bytes(step), activations = 0;
  for (const MemoryPart& part : step)
    if (part.name != "weights" && part.name != "gradients" && part.name != "optimizer state" &&
        part.name != "program")
      activations += part.bytes;

  JsonObject out = {{"name", t.title},
                    {"total_parameters", int64_t(n.total)},
                    {"active_parameters", int64_t(n.active)},
                    {"shared_parameters", int64_t(shared)},
                    {"routed_parameters", int64_t(routed)},
                    {"embedding_parameters", int64_t(n.embedding)},
                    {"total_parameters_tied", int64_t(tied)},
                    {"forward_flop_per_token", forward},
                    {"train_flop_per_token", training},
                    {"seq_len", t.seq_len},
                    {"batch", o.batch},
                    {"dtype", o.dtype},
                    {"weight_bytes", weights},
                    {"kv_cache_bytes_per_token", kv_token},
                    {"kv_cache_bytes", kv},
                    {"train_bytes", step_bytes},
                    {"gradient_bytes", n.total * 4},
                    {"optimizer_bytes", n.total * 4 * slots},
                    {"activation_bytes", activations}};
  std::string text = t.title + "\n\n";
  Table table({"", "", ""});
  table.row({"total parameters", whole(n.total), billions(n.total) + ", all of them in memory"});
  table.row({"active for one token", whole(n.active), billions(n.active)});
  if (routed > 0) table.row({"routed experts", whole(routed), billions(routed)});
  table.row({"all else (shared by every token)", whole(shared), billions(shared)});
  table.row({"of it embedding tables", whole(n.embedding), ""});
  if (!c.tie_embeddings) table.row({"total with a tied head", whole(tied), billions(tied)});
  table.row({"forward, per token", fmt::format("{:.4g} GFLOP", forward / 1e9),
             fmt::format("context of {} tokens", with_commas(t.seq_len))});
  table.row({"training, per token", fmt::format("{:.4g} GFLOP", training / 1e9), ""});
  table.row({"weights, " + o.dtype, gigabytes(weights), ""});
  table.row({"key/value cache, per token", fmt::format("{} bytes", whole(kv_token)), ""});
  table.row({"key/value cache", gigabytes(kv),
             fmt::format("{} sequences of {} tokens", o.batch, with_commas(t.seq_len))});
  if (o.train || o.tokens > 0) {
    for (const MemoryPart& part : step)
      table.row({"training step: " + part.name,
                 (part.bytes < 0 ? "-" : "") + gigabytes(std::fabs(part.bytes)), ""});
    table.row({"training step, " + o.optimizer, gigabytes(step_bytes),
               fmt::format("float32, {} windows of {} tokens", o.batch, with_commas(t.seq_len))});
  }
  if (o.tokens > 0 || o.gpus > 1 || o.price > 0) {
    const Hardware* device = nullptr;
    for (const Hardware& h : kHardware)
      if (o.hardware == h.name) device = &h;
    const double rate = double(o.gpus) * device->tera_flops * 1e12 * o.mfu,
                 tokens_per_second = rate / training, seconds = o.tokens / tokens_per_second,
                 hours = seconds / 3600 * double(o.gpus), cost = hours * o.price;
    out["tokens_per_second"] = tokens_per_second;
    out["device"] = o.hardware;
    out["gpus"] = o.gpus;
    table.row({"training speed", whole(tokens_per_second) + " tokens/s",
               fmt::format("{} {}, {} TFLOP/s each, {:.0f} % of it", o.gpus, o.hardware,
                           device->tera_flops, o.mfu * 100)});
    if (o.tokens > 0) {
      out["train_seconds"] = seconds;
      out["device_hours"] = hours;
      table.row({"training time", fmt::format("{:.4g} hours", seconds / 3600),
                 fmt::format("{} tokens, {:.4g} device hours", billions(o.tokens), hours)});
    }
    if (o.price > 0 && o.tokens > 0) {
      out["cost"] = cost;
      table.row({"cost", fmt::format("{:.2f}", cost), fmt::format("at {} a device hour", o.price)});
    }
    const double per_device = n.total * 16 / double(o.gpus);
    out["adam_bytes_per_device"] = per_device;
    table.row({"weights, gradients, Adam", gigabytes(n.total * 16),
               fmt::format("16 bytes a parameter; {} a device if sharded, which has {} GB",
                           gigabytes(per_device), device->memory_gb)});
  }
  if (t.preset && t.preset->published_total > 0)
    table.row({"published", billions(t.preset->published_total),
               t.preset->published_active > 0 ? billions(t.preset->published_active) + " active"
                                              : "active: unknown"});
  if (o.json) {
    print_json(out);
    return 0;
  }
  const std::string lines = table.text();
  print_line(text + lines.substr(lines.find('\n', lines.find('\n') + 1) + 1));
  return 0;
}

// A child process for each configuration, because the largest resident set only grows.
int run_check(bool json) {
  struct Case {
    const char *shape, *batch;
  };
  constexpr Case kCases[] = {{"mixtral", "2"}, {"mixtral", "8"}, {"fine", "4"}, {"nanogpt", "4"}};
  Table table({"model", "batch", "predicted", "measured", "ratio"});
  JsonArray all;
  bool good = true;
  for (const Case& c : kCases) {
    std::array<char, 4096> path{};
    const ssize_t length = readlink("/proc/self/exe", path.data(), path.size() - 1);
    MOE_CHECK(length > 0, "[calc] cannot find this program's file");
    const std::string program(path.data(), size_t(length));
    FILE* pipe = popen(str("'", program, "' bench train --shape ", c.shape, " --batch ", c.batch,
                           " --steps 4 --json")
                           .c_str(),
                       "r");
    MOE_CHECK(pipe, "[calc] cannot start ", program);
    std::string text;
    std::array<char, 4096> buffer{};
    while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
      text.append(buffer.data(), n);
    MOE_CHECK(pclose(pipe) == 0, "[calc] the training of ", c.shape, " failed");
    const Json result = parse_json(text, "[calc] output of moe bench");
    const JsonReader r(result.as_object(), "[calc] output of moe bench");
    const double predicted = r.number("predicted_bytes"), measured = r.number("resident_bytes"),
                 ratio = predicted / measured;
    good = good && std::fabs(ratio - 1) <= 0.1;
    table.row({c.shape, c.batch, gigabytes(predicted), gigabytes(measured),
               fmt::format("{:.3f}", ratio)});
    all.push_back(JsonObject{{"model", c.shape},
                             {"batch", c.batch},
                             {"predicted_bytes", predicted},
                             {"measured_bytes", measured},
                             {"ratio", ratio}});
    if (!json) print_line(fmt::format("{} batch {}: {:.3f}", c.shape, c.batch, ratio));
  }
  if (json)
    print_json({{"checks", all}, {"within_ten_percent", good}});
  else
    print_line("\n" + table.text());
  return good ? 0 : 1;
}

}  // namespace

RunCommand add_calc(CLI::App& app) {
  auto o = std::make_shared<CalcOptions>();
  app.add_option("WHAT", o->what, "preset, .yaml file, model folder, or: ffn WIDTH");
  app.add_option("key=value", o->key_values, "keys that override those of a preset or a file");
  app.add_flag("--list", o->list, "the presets and their sources");
  app.add_flag("--check", o->check,
               "train five steps of several models, compare predicted and measured memory");
  app.add_flag("--train", o->train, "the memory of a training step, part by part");
  app.add_option("--batch", o->batch, "sequences")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  app.add_option("--seq", o->seq, "tokens of a sequence; default: the model's")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30));
  app.add_option("--dtype", o->dtype, "of the weights: f32, bf16, f16, int8 or q4")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "int8", "q4"}))
      ->capture_default_str();
  app.add_option("--optimizer", o->optimizer, "adamw, sgd or muon")
      ->check(CLI::IsMember({"adamw", "sgd", "muon"}))
      ->capture_default_str();
  app.add_option("--gpus", o->gpus, "devices")->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  std::vector<std::string> names;
  for (const Hardware& h : kHardware) names.emplace_back(h.name);
  app.add_option("--gpu", o->hardware, "device: " + join(names, ", "))
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  app.add_option("--tokens", o->tokens, "tokens of a training run: its time")
      ->check(CLI::Range(1.0, 1e18));
  app.add_option("--mfu", o->mfu, "share of the devices' peak that training reaches")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  app.add_option("--price", o->price, "of one device for an hour: its cost")
      ->check(CLI::Range(0.0, 1e9));
  app.add_flag("--json", o->json, "one JSON object");
  return [o] {
    if (o->list) return run_list(o->json);
    if (o->check) return run_check(o->json);
    if (o->what.empty())
      throw Error(
          "[calc] name a preset, a .yaml file or a model folder; moe calc --list shows the "
          "presets",
          ExitCode::usage);
    if (o->what == "ffn") {
      if (o->key_values.size() != 1)
        throw Error("[calc] ffn takes one width; for example: moe calc ffn 256", ExitCode::usage);
      return run_ffn(o->key_values[0], o->json);
    }
    return run_calc(*o);
  };
}

}  // namespace moe
