// SPDX-License-Identifier: MIT
// The YAML configuration reader, one key of each type: what it accepts, it writes and reads again.
#include "moe/base/config.h"

#include "fuzz/memory_file.h"

namespace {

struct Fields {
  int64_t steps = 1000;
  double lr = 1e-3;
  bool bias = false, has_moe = false;
  std::string path = "demo", norm = "rms_norm";
  std::vector<double> betas = {0.9, 0.95};
  int n_experts = 8;
};

std::string read_and_write(const std::string& yaml) {
  Fields fields;
  moe::ConfigTable table;
  table.integer("train.steps", fields.steps, 0, 1 << 30, "Optimiser steps.");
  table.number("optim.lr", fields.lr, 0, 10, "Learning rate.");
  table.numbers("optim.betas", fields.betas, 2, 0, 1, "AdamW's decay rates.");
  table.boolean("model.bias", fields.bias, "Biases in linear layers.");
  table.string("data.path", fields.path, "A file or a folder.");
  table.choice("model.norm", fields.norm, {"rms_norm", "layer_norm"}, "Kind of norm.");
  table.optional_group("model.moe", fields.has_moe, "Mixture of experts.");
  table.integer("model.moe.n_experts", fields.n_experts, 1, 4096, "Experts.");
  table.read_yaml(yaml, "[fuzz]");
  return table.to_yaml();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string yaml;
  moe::fuzz::read([&] { yaml = read_and_write(std::string(moe::fuzz::text(data, size))); });
  // Outside of read(): what was written must be accepted.
  if (!yaml.empty()) moe::fuzz::require(read_and_write(yaml) == yaml);
  return 0;
}
