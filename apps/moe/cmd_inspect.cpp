// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/families/model_folder.h"
#include "moe/families/weights.h"
#include "moe/io/safetensors_folder.h"
#include "moe/nn/accounting.h"
#include "moe/optim/optimizer.h"
#include "moe/report/table.h"
#include "moe/train/run_config.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    throw Error("cannot write to standard output; it is closed or full", ExitCode::io);
}

// One tensor after the other: a hostile file may hold a great many.
void print_tensors(const SafetensorsFolder& files) {
  size_t name_width = 6;
  for (const SafetensorsFolder::Item& item : files.items())
    name_width = std::max(name_width, printable(item.entry->name).size());
  print(fmt::format("{:<{}}  type  shape\n{:-<{}}  ----  -----\n", "tensor", name_width, "",
                    name_width));
  for (const SafetensorsFolder::Item& item : files.items())
    print(fmt::format("{:<{}}  {:<4}  {}\n", printable(item.entry->name), name_width,
                      dtype_name(item.entry->dtype), item.entry->shape_text()));
}

void print_tensors_json(const SafetensorsFolder& files) {
  const char* separator = "";
  for (const SafetensorsFolder::Item& item : files.items()) {
    JsonArray shape;
    for (int i = 0; i < item.entry->rank; ++i) shape.push_back(item.entry->sizes[size_t(i)]);
    print(separator + to_json_line(JsonObject{{"name", item.entry->name},
                                              {"dtype", dtype_name(item.entry->dtype)},
                                              {"shape", shape}}));
    separator = ",";
  }
}

struct MemoryOptions {
  int64_t batch = 0,
          seq_len = 0;  // 0: the configuration's, or 16 and the smaller of 256 and the context
  std::string optimizer, compute_dtype, recompute;
};

// What a training step of a configuration file or of a model folder will take.
int inspect_memory(const std::string& what, const MemoryOptions& o, bool json) {
  RunConfig config;
  if (what.ends_with(".yaml") || what.ends_with(".yml")) {
    config = read_run_config({.file = what, .overrides = {}});
  } else {
    config.model = read_model_config(resolve_model_folder(what));
    config.data.seq_len = std::min<int64_t>(256, config.model.max_seq_len);
  }
  if (config.model.vocab_size == 0) config.model.vocab_size = 256;  // of the byte tokenizer
  if (o.batch > 0) config.train.batch_size = o.batch;
  if (o.seq_len > 0) config.data.seq_len = o.seq_len;
  if (!o.optimizer.empty()) config.optim.name = o.optimizer;
  if (!o.compute_dtype.empty()) config.train.compute_dtype = o.compute_dtype;
  if (!o.recompute.empty()) config.train.recompute = o.recompute;
  if (config.data.seq_len > config.model.max_seq_len)
    throw Error(str("--seq-len ", config.data.seq_len, " is beyond the model's max_seq_len ",
                    config.model.max_seq_len),
                ExitCode::usage);
  const std::vector<MemoryPart> parts =
      training_memory(config.model, config.train.batch_size, config.data.seq_len,
                      optimizer_slots(config.optim), config.train.mode());
  if (json) {
    JsonObject bytes;
    for (const MemoryPart& part : parts) bytes[part.name] = int64_t(part.bytes);
    print_json({{"batch", config.train.batch_size},
                {"seq_len", config.data.seq_len},
                {"optimizer", config.optim.name},
                {"compute_dtype", config.train.compute_dtype},
                {"recompute", config.train.recompute},
                {"bytes", bytes},
                {"total_bytes", int64_t(total_bytes(parts))}});
    return 0;
  }
  print_line(fmt::format("a training step of {} windows of {} tokens with {}:\n",
                         config.train.batch_size, config.data.seq_len, config.optim.name));
  Table table({"part", "memory"});
  for (const MemoryPart& part : parts)
    table.row(
        {part.name, (part.bytes < 0 ? "-" : "") + human_bytes(uint64_t(std::fabs(part.bytes)))});
  table.row({"total", human_bytes(uint64_t(total_bytes(parts)))});
  print_line(table.text());
  return 0;
}

}  // namespace

RunCommand add_inspect(CLI::App& app) {
  struct Options {
    std::string folder;
    bool json = false, memory = false;
    MemoryOptions step;
  };
  auto o = std::make_shared<Options>();
  app.add_option("DIR", o->folder,
                 "run folder, checkpoint or Hugging Face folder; with --memory also a .yaml file")
      ->required();
  app.add_flag("--json", o->json, "one JSON object");
  app.add_flag("--memory", o->memory, "what a training step will take");
  app.add_option("--batch", o->step.batch, "--memory: windows of a step")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  app.add_option("--seq-len", o->step.seq_len, "--memory: tokens of a window")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  app.add_option("--optimizer", o->step.optimizer, "--memory: adamw, sgd or muon")
      ->check(CLI::IsMember({"adamw", "sgd", "muon"}));
  app.add_option("--compute-dtype", o->step.compute_dtype, "--memory: f32, bf16 or f16")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--recompute", o->step.recompute, "--memory: none, ffn or block")
      ->check(CLI::IsMember({"none", "ffn", "block"}));
  return [o] {
    if (o->memory) return inspect_memory(o->folder, o->step, o->json);
    const std::string path = resolve_model_folder(o->folder);
    const ModelConfig config = read_model_config(path);
    const SafetensorsFolder files(path);
    const ParameterCount count = count_parameters(config);
    const Json json = read_json(join_path(path, "config.json"), "[config.json] " + path);
    const std::string model_type = JsonReader(json.as_object(), path).string("model_type");
    check_weights_match(path, config, find_family(model_type, path));
    if (o->json) {
      const std::string head =
          to_json_line(JsonObject{{"path", path},
                                  {"model_type", model_type},
                                  {"total_parameters", int64_t(count.total)},
                                  {"active_parameters", int64_t(count.active)},
                                  {"embedding_parameters", int64_t(count.embedding)}});
      print(head.substr(0, head.rfind('}')) + ",\"tensors\":[");
      print_tensors_json(files);
      print_line("]}");
      return 0;
    }
    print_line(str(path, " (", model_type, ")\n"));
    print_tensors(files);
    print_line(str("\nparameters: ", with_commas(int64_t(count.total)), " in all, ",
                   with_commas(int64_t(count.active)), " active for one token, ",
                   with_commas(int64_t(count.embedding)), " of them in tables"));
    return 0;
  };
}

RunCommand add_diff(CLI::App& app) {
  struct Options {
    std::string a, b;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("A", o->a, "model folder")->required();
  app.add_option("B", o->b, "model folder")->required();
  app.add_flag("--json", o->json, "one JSON object");
  return [o] {
    const SafetensorsFolder a(resolve_model_folder(o->a)), b(resolve_model_folder(o->b));
    int64_t equal = 0, different = 0, only_a = 0, only_b = 0;
    JsonArray list;
    Table table({"tensor", "A", "B", "largest difference", "differing values"});
    auto add = [&](const std::string& name, const std::string& in_a, const std::string& in_b,
                   double largest, int64_t n) {
      table.row({name, in_a, in_b, n > 0 ? fmt::format("{:.3g}", largest) : "",
                 n > 0 ? with_commas(n) : ""});
      list.push_back(JsonObject{{"name", name},
                                {"a", in_a},
                                {"b", in_b},
                                {"max_abs_difference", n > 0 ? Json(largest) : Json(nullptr)},
                                {"differing_values", n}});
    };
    auto describe = [](const SafetensorsEntry& e) {
      return str(dtype_name(e.dtype), " ", e.shape_text());
    };
    for (const SafetensorsFolder::Item& item : a.items()) {
      const SafetensorsEntry& e = *item.entry;
      const SafetensorsFolder::Item* other = b.find(e.name);
      if (!other) {
        only_a += 1;
        add(e.name, describe(e), "absent", 0, 0);
        continue;
      }
      const auto x = item.file->bytes(e), y = other->file->bytes(*other->entry);
      if (describe(e) == describe(*other->entry) &&
          std::equal(x.begin(), x.end(), y.begin(), y.end())) {
        equal += 1;
        continue;
      }
      different += 1;
      double largest = 0;
      int64_t n = 0;
      if (e.shape_text() == other->entry->shape_text() && is_floating(e.dtype) &&
          is_floating(other->entry->dtype)) {
        const Tensor p = a.tensor(e.name).to(DType::f64), q = b.tensor(e.name).to(DType::f64);
        for (size_t i = 0; i < p.data<double>().size(); ++i) {
          const double u = p.data<double>()[i], v = q.data<double>()[i];
          if (u == v || (std::isnan(u) && std::isnan(v))) continue;
          n += 1;
          largest = std::max(largest, std::isnan(u - v) ? HUGE_VAL : std::abs(u - v));
        }
      }
      add(e.name, describe(e), describe(*other->entry), largest, n);
    }
    for (const SafetensorsFolder::Item& item : b.items())
      if (!a.find(item.entry->name)) {
        only_b += 1;
        add(item.entry->name, "absent", describe(*item.entry), 0, 0);
      }
    const bool same = different + only_a + only_b == 0;
    if (o->json) {
      print_json({{"equal", equal},
                  {"different", different},
                  {"only_a", only_a},
                  {"only_b", only_b},
                  {"tensors", list}});
    } else {
      if (!same) print_line(table.text());
      print_line(str(equal, " tensors are equal bit for bit, ", different, " differ, ", only_a,
                     " only in A, ", only_b, " only in B"));
    }
    return same ? 0 : 1;
  };
}

}  // namespace moe
