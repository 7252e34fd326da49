// SPDX-License-Identifier: MIT
// Every router with every kind of expert in every placement: twenty steps, a run that is cut and
// resumed to the same bits, text, and the parity of its logits. All of them under label `full`; the
// ordinary run takes one combination of each router.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "moe/base/fs.h"
#include "moe/eval/parity.h"
#include "moe/families/model_folder.h"
#include "moe/infer/generate.h"
#include "moe/nn/moe/routers.h"
#include "moe/train/run.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

const std::vector<std::string> kKinds = {"linear", "mlp_relu", "mlp_gelu", "swiglu"};
const std::vector<std::string> kPlacements = {"all", "[1]", "every:2"};

struct Combination {
  std::string router, kind;
  bool bias;
  std::string placement;
};

RunConfig config_of(const Combination& c, const std::string& run_dir) {
  std::vector<std::string> keys = {
      "run_dir=" + run_dir,
      "model.n_layers=3",
      "model.d_model=16",
      "model.n_heads=2",
      "model.n_kv_heads=1",
      "model.head_dim=8",
      "model.max_seq_len=24",
      "model.d_ff=24",
      "model.moe.n_experts=4",
      "model.moe.d_ff=12",
      "model.moe.cosine_dim=8",
      "model.moe.allow_noncausal=true",
      "data.seq_len=24",
      "optim.lr=0.01",
      "optim.warmup_steps=3",
      "train.steps=20",
      "train.batch_size=2",
      "train.eval_every=0",
      "train.checkpoint_every=0",
      "train.threads=1",
      "model.moe.router=" + c.router,
      "model.moe.expert=" + c.kind,
      "model.moe.layers=" + c.placement,
      std::string("model.moe.expert_bias=") + (c.bias ? "true" : "false")};
  if (c.router == "longcat") keys.push_back("model.moe.n_identity_experts=2");
  if (c.router == "hierarchical" || c.router == "group_limited") {
    keys.push_back("model.moe.n_group=2");
    keys.push_back("model.moe.topk_group=2");
  }
  if (c.router == "moe_pp")
    for (const char* key : {"n_identity_experts=1", "n_zero_experts=1", "n_constant_experts=1"})
      keys.push_back(std::string("model.moe.") + key);
  return read_run_config({.file = "", .overrides = keys});
}

std::string weights_of(const std::string& run_dir) {
  const std::string folder = run_dir + "/checkpoints/ckpt-000020/";
  return read_file(folder + "model.safetensors") + read_file(folder + "optimizer.safetensors");
}

void check(const Combination& c) {
  SCOPED_TRACE(c.router + " " + c.kind + (c.bias ? " biases " : " ") + c.placement);
  const TempFolder folder;
  RunOptions options;
  options.quiet = true;
  const RunConfig whole = config_of(c, folder / "whole"), cut = config_of(c, folder / "cut");
  ASSERT_EQ(run_training(whole, options).steps, 20);
  RunOptions stopping = options;
  int64_t steps = 0;
  stopping.stop_requested = [&] { return ++steps >= 9; };
  ASSERT_EQ(run_training(cut, stopping).end, RunResult::End::interrupted);
  options.resume = true;
  ASSERT_EQ(run_training(cut, options).steps, 20);
  EXPECT_TRUE(weights_of(whole.run_dir) == weights_of(cut.run_dir)) << "resumed to other bits";

  const ModelFolder made = load_model_folder(whole.run_dir + "/checkpoints/ckpt-000020");
  if (!made.model->causal(false)) return;
  const ParityReport parity = check_parity(*made.model, all_f32_tables(), 1);
  EXPECT_EQ(parity.differing_bits, 0) << parity.first_difference;
  GenerateRequest request;
  request.prompt_ids = {65, 66, 67};
  request.max_new_tokens = 8;
  const GenerateResult text = generate(*made.model, {request}).at(0);
  EXPECT_EQ(text.ids.size(), 8u);
}

class RouterMatrix : public testing::TestWithParam<std::string> {};
class RouterMatrixFull : public testing::TestWithParam<std::string> {};

TEST_P(RouterMatrix, OneCombination) {
  const std::vector<std::string> names = router_names();
  const auto n = size_t(std::find(names.begin(), names.end(), GetParam()) - names.begin());
  check({GetParam(), kKinds[n % 4], n % 8 >= 4, kPlacements[n % 3]});
}
INSTANTIATE_TEST_SUITE_P(Routers, RouterMatrix, testing::ValuesIn(router_names()),
                         [](const testing::TestParamInfo<std::string>& i) { return i.param; });

TEST_P(RouterMatrixFull, EveryKindAndPlacement) {
  for (const std::string& kind : kKinds)
    for (const bool bias : {false, true})
      for (const std::string& placement : kPlacements) check({GetParam(), kind, bias, placement});
}

INSTANTIATE_TEST_SUITE_P(Routers, RouterMatrixFull, testing::ValuesIn(router_names()),
                         [](const testing::TestParamInfo<std::string>& i) { return i.param; });

}  // namespace
}  // namespace moe
