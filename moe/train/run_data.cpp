// SPDX-License-Identifier: MIT
#include "moe/train/run_data.h"

#include <cmath>
#include <fmt/format.h>

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
  DataConfig prepared = data;
  prepared.path = prepared_path(data);
  const std::shared_ptr<const Tokenizer> tokenizer = prepared.path.empty()
                                                         ? open_tokenizer(data.tokenizer, "")
                                                         : open_prepared_tokenizer(prepared);
  out.chat = std::make_unique<ChatEncoder>(chat_source(config, checkpoint), tokenizer);
  out.data = open_chat_dataset(data, *out.chat);
  out.data.tokenizer = tokenizer;
  return out;
}

int64_t steps_of_run(const RunConfig& config, const Dataset& data) {
  const int64_t per_step = config.train.batch_size * config.train.grad_accum;
  int64_t steps = config.train.steps;
  if (config.train.epochs > 0) {
    MOE_CHECK(data.n_train_tokens > 0,
              "[config] train.epochs: the demo data have no end; set train.steps");
    const double windows = config.train.epochs * double(data.train->count());
    steps = std::max<int64_t>(1, int64_t(std::ceil(windows / double(per_step))));
  }
  const int64_t end = data.mixture ? data.mixture->n_places() : 0;
  if (end == 0 || steps <= end / per_step) return steps;
  MOE_CHECK(end >= per_step, "[config] data.mixture: its sources may give ", end,
            " windows in all (epochs), but a step takes ", per_step,
            "; raise their epochs, or lower train.batch_size");
  return end / per_step;
}

std::vector<SourceShare> source_shares(const RunConfig& config, const Dataset& data) {
  std::vector<SourceShare> out;
  if (!data.mixture) return out;
  const int64_t n = steps_of_run(config, data) * config.train.batch_size * config.train.grad_accum;
  const std::vector<int64_t> taken = data.mixture->taken(n);
  for (size_t i = 0; i < taken.size(); ++i) {
    const DataSource& source = config.data.mixture[i];
    const int64_t windows = data.mixture->windows_of(int64_t(i));
    out.push_back({.path = source.path,
                   .share = n > 0 ? double(taken[i]) / double(n) : 0,
                   .windows = windows,
                   .validation_windows = data.validation_windows[i],
                   .epochs = double(taken[i]) / double(windows),
                   .most_epochs = source.epochs});
  }
  return out;
}

std::string source_line(const SourceShare& s) {
  return fmt::format("{}: {:.1f} % of the windows, {} of its own, {:.3g} epochs{}{}", s.path,
                     100 * s.share, with_commas(s.windows), s.epochs,
                     s.most_epochs > 0 ? fmt::format(" of at most {:.3g}", s.most_epochs) : "",
                     s.validation_windows > 0
                         ? fmt::format("; validation {}", with_commas(s.validation_windows))
                         : "; no validation");
}

}  // namespace moe
