// SPDX-License-Identifier: MIT
#include "moe/train/adapter_report.h"

#include <cmath>

#include "moe/base/error.h"
#include "moe/families/model_folder.h"
#include "moe/train/run_data.h"
#include "moe/train/trainer.h"

namespace moe {

std::vector<TargetGradient> report_adapter(const RunConfig& given) {
  RunConfig config = given;
  if (!config.has_adapter())
    throw Error("[lora] the configuration has neither lora.targets nor lora.moe_lora",
                ExitCode::usage);
  const RunData data = open_run_data(config, "");
  if (config.model.vocab_size == 0) config.model.vocab_size = data.data.vocab_size;
  TransformerLM model(config.model);
  load_weights(model, resolve_model_folder(config.model.init_from));
  freeze(model);
  model.use_adapter(add_adapter(model, config.lora, uint64_t(config.train.seed)));
  Trainer trainer(config, data.data, model);
  trainer.fix_learning_rate(0);
  trainer.step();
  std::vector<TargetGradient> out;
  for (AdapterTarget& target : adapter_targets(model, model.adapter())) {
    double squares = 0;
    for (const auto& [parameter, piece] : target.pieces)
      with_elements(read_piece(parameter.var.grad(), piece), [&](auto values) {
        for (const auto x : values) squares += double(x) * double(x);
      });
    out.push_back({std::move(target), std::sqrt(squares)});
  }
  return out;
}

}  // namespace moe
