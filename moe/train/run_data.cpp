// SPDX-License-Identifier: MIT
#include "moe/train/run_data.h"

#include <cmath>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/data/prepared_data.h"
#include "moe/families/model_folder.h"

namespace moe {
namespace {

ChatSource chat_source(const RunConfig& config, const std::string& checkpoint) {
  if (!checkpoint.empty())
    if (auto own = folder_chat_template(checkpoint)) return *own;
  if (!config.data.chat_template.empty()) return find_chat_template(config.data.chat_template);
  if (!config.model.init_from.empty())
    if (auto own = folder_chat_template(resolve_model_folder(config.model.init_from))) return *own;
  return find_chat_template("chatml");
}

}  // namespace

RunData open_run_data(const RunConfig& config, const std::string& checkpoint) {
  DataConfig data = config.data;
  // A run that goes on keeps the tokenizer that it began with, wherever that came from.
  const std::string saved = join_path(checkpoint, "tokenizer.json");
  if (!checkpoint.empty() && exists(saved)) data.tokenizer = saved;
  RunData out;
  if (config.stage != "sft") {
    out.data = open_dataset(data, uint64_t(config.train.seed));
    return out;
  }
  const std::shared_ptr<const Tokenizer> tokenizer = is_prepared_data(data.path)
                                                         ? open_prepared_tokenizer(data)
                                                         : open_tokenizer(data.tokenizer, "");
  out.chat = std::make_unique<ChatEncoder>(chat_source(config, checkpoint), tokenizer);
  out.data = open_chat_dataset(data, *out.chat);
  out.data.tokenizer = tokenizer;
  return out;
}

int64_t steps_of_run(const RunConfig& config, const Dataset& data) {
  if (config.train.epochs <= 0) return config.train.steps;
  MOE_CHECK(config.data.path != "demo",
            "[config] train.epochs: the demo data have no end; set train.steps");
  const double windows = config.train.epochs * double(data.train->count()),
               per_step = double(config.train.batch_size * config.train.grad_accum);
  return std::max<int64_t>(1, int64_t(std::ceil(windows / per_step)));
}

}  // namespace moe
