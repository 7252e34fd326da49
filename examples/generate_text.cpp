// SPDX-License-Identifier: MIT
// Continue a text with a model: load one from the folder given, or make a random one.
#include <cstdio>

#include "moe/families/model_folder.h"
#include "moe/infer/generate.h"
#include "moe/nn/init.h"

int main(int argc, char** argv) {
  using namespace moe;
  ModelFolder folder;
  if (argc > 1) {
    folder = load_model_folder(argv[1]);
  } else {
    ModelConfig config;
    config.n_layers = 2;
    config.d_model = 32;
    config.n_heads = config.n_kv_heads = 2;
    config.head_dim = 16;
    folder.tokenizer = make_byte_tokenizer();
    config.vocab_size = folder.tokenizer->vocab_size();
    folder.model = std::make_unique<TransformerLM>(config);
    initialize(*folder.model, 1);
  }
  GenerateRequest request;
  request.prompt_ids = folder.need_tokenizer().encode("Once upon a time");
  request.max_new_tokens = 20;
  request.stop_ids = folder.eos_ids;
  const std::vector<GenerateResult> results = generate(*folder.model, {request});
  std::printf("%zu new tokens, finish reason %s\n", results[0].ids.size(),
              finish_reason_name(results[0].reason));
  return results[0].ids.empty() ? 1 : 0;
}
