// SPDX-License-Identifier: MIT
// Single experts in training: frozen, clipped, measured, revived; and a run that collapses.
#include "moe/train/expert_care.h"

#include <cmath>
#include <gtest/gtest.h>
#include <map>

#include "moe/nn/init.h"
#include "moe/optim/grad_norm.h"
#include "moe/train/trainer.h"

#include "tests/train/tiny_run.h"

namespace moe {
namespace {

struct SwitchRun : TinyRun {
  explicit SwitchRun(std::vector<std::string> changes) : TinyRun(with_switch(std::move(changes))) {}
  static std::vector<std::string> with_switch(std::vector<std::string> changes) {
    changes.insert(changes.begin(), "model.moe.router=switch");
    return changes;
  }
  std::map<std::string, Tensor> weights() const {
    std::map<std::string, Tensor> out;
    for (const Parameter& p : model->parameters())
      for (const Piece& piece : p.pieces) out[piece.name] = read_piece(p.var.value(), piece);
    return out;
  }
};

TEST(ExpertCare, FrozenTensorsDoNotMoveAndTheOthersDo) {
  for (const char* optimizer : {"adamw", "muon", "sgd"}) {
    SwitchRun s({"train.freeze=router,*.experts.2.*", std::string("optim.name=") + optimizer});
    const auto before = s.weights();
    for (int i = 0; i < 3; ++i) s.trainer->step();
    for (const auto& [name, value] : s.weights()) {
      const bool frozen = name.find(".gate.weight") != std::string::npos ||
                          name.find(".experts.2.") != std::string::npos;
      EXPECT_EQ(same_bits(value, before.at(name)), frozen) << optimizer << " " << name;
    }
  }
  // A frozen router's bias does not move either.
  SwitchRun s({"train.freeze=router", "model.moe.router=sigmoid_bias"});
  for (int i = 0; i < 3; ++i) s.trainer->step();
  for (const Buffer& b : s.model->buffers())
    for (const float v : b.value.data<float>()) EXPECT_EQ(v, 0) << b.name;
}

TEST(ExpertCare, APatternThatNamesNothingIsRefused) {
  const auto refusal = [](const std::vector<std::string>& changes) {
    try {
      SwitchRun s(changes);
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::usage);
      return std::string(e.what());
    }
    return std::string("none");
  };
  EXPECT_NE(refusal({"train.freeze=*.experts.9.*"}).find("'*.experts.9.*'"), std::string::npos);
  EXPECT_NE(refusal({"train.freeze=router", "model.moe.layers=[]"}).find("'router'"),
            std::string::npos);
  EXPECT_EQ(refusal({"train.freeze=router", "model.moe.router=hash"}), "none");
}

TEST(ExpertCare, ClipsEachExpertByItself) {
  SwitchRun measured({"train.log_expert_norms=true"});
  const StepResult loose = measured.trainer->step();
  ASSERT_EQ(loose.expert_norms.size(), 2u);
  ASSERT_EQ(loose.expert_norms[0].size(), 4u);
  std::vector<double> all;
  for (const auto& layer : loose.expert_norms) all.insert(all.end(), layer.begin(), layer.end());
  std::sort(all.begin(), all.end());
  const double limit = (all[3] + all[4]) / 2;  // half of them are above
  SwitchRun clipped({str("train.expert_grad_clip=", limit)});
  const StepResult tight = clipped.trainer->step();
  EXPECT_EQ(tight.expert_norms, loose.expert_norms);  // before clipping
  double removed = 0;
  for (const double n : all) removed += n * n * (1 - std::pow(clip_factor(n, limit), 2));
  EXPECT_GT(removed, 0);
  // Each clipped number is rounded once to float32.
  EXPECT_NEAR(loose.grad_norm * loose.grad_norm - tight.grad_norm * tight.grad_norm, removed,
              1e-4 * removed);
}

// Routers that send every token to expert 0: all embeddings have a large first component, the norm
// before the experts keeps it, and the gates look at nothing else.
void collapse(const TransformerLM& model) {
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) {
      const Tensor w = read_piece(p.var.value(), piece);
      if (p.role == Role::embedding)
        for (int64_t v = 0; v < w.size(0); ++v) w.view().at<float>(v, 0) = 0.1f;
      else if (p.role == Role::router)
        for (int64_t e = 0; e < w.size(0); ++e)
          for (int64_t d = 0; d < w.size(1); ++d)
            w.view().at<float>(e, d) = d == 0 && e == 0 ? 6.0f : 0.0f;
      else
        continue;
      write_piece(p.var.value(), piece, w);
    }
}

double busiest_share(const StepResult& s) {
  double worst = 0;
  for (const LayerLoad& load : s.experts) {
    int64_t most = 0, all = 0;
    for (const int64_t n : load.stats.counts_E) most = std::max(most, n), all += n;
    worst = std::max(worst, double(most) / double(all));
  }
  return worst;
}

TEST(ExpertCare, ACollapsedRouterRecoversWithTheCuresAndNotWithoutThem) {
  const std::vector<std::string> off = {"model.moe.aux_loss_weight=0", "model.moe.z_loss_weight=0",
                                        "model.moe.router_jitter=0"};
  SwitchRun sick(off);
  collapse(*sick.model);
  StepResult last;
  for (int i = 0; i < 60; ++i) {
    last = sick.trainer->step();
    if (i == 0) {
      EXPECT_EQ(busiest_share(last), 1);
    }
  }
  EXPECT_GT(busiest_share(last), 0.9);

  for (const std::vector<std::string>& cure :
       {std::vector<std::string>{"train.dead_expert_steps=5", "model.moe.aux_loss_weight=0.01",
                                 "model.moe.router_noise=0.3"},
        std::vector<std::string>{"model.moe.uniform_start_steps=20", "train.dead_expert_steps=5",
                                 "model.moe.aux_loss_weight=0.05", "model.moe.router_noise=0.3"}}) {
    SwitchRun cured(cure);
    collapse(*cured.model);
    size_t revived = 0;
    for (int i = 0; i < 60; ++i) {
      last = cured.trainer->step();
      revived += last.revived.size();
    }
    EXPECT_LT(busiest_share(last), 0.6) << cure[0];
    EXPECT_GT(revived, 0u);
  }
}

TEST(ExpertCare, ARevivedExpertHasTheOthersWeightsAndStateButForALittle) {
  SwitchRun s({"train.dead_expert_steps=2", "model.moe.aux_loss_weight=0"});
  collapse(*s.model);
  s.trainer->step();
  const StepResult second = s.trainer->step();
  ASSERT_EQ(second.revived.size(), 6u);  // three of four in two layers
  const auto w = s.weights();
  for (const RevivedExpert& r : second.revived) {
    EXPECT_EQ(r.from, 0);
    for (const char* part : {"gate_proj", "up_proj", "down_proj"}) {
      const auto name = [&](int64_t e) {
        return str("model.layers.", r.layer, ".mlp.experts.", e, ".", part, ".weight");
      };
      const std::span<const float> to = w.at(name(r.expert)).data<float>(),
                                   from = w.at(name(r.from)).data<float>();
      double difference = 0, norm = 0;
      for (size_t i = 0; i < to.size(); ++i) {
        difference += (to[i] - from[i]) * (to[i] - from[i]);
        norm += from[i] * from[i];
      }
      // 400 draws of 0.02: within a quarter of it.
      EXPECT_NEAR(std::sqrt(difference / norm), 0.02, 0.005) << name(r.expert);
    }
  }
}

TEST(ExpertCare, AFrozenExpertIsNotRevivedAndAFrozenRouterKeepsItsRows) {
  SwitchRun s({"train.dead_expert_steps=1", "train.freeze=router,*.experts.2.*",
               "model.moe.aux_loss_weight=0"});
  collapse(*s.model);
  const auto before = s.weights();
  const StepResult step = s.trainer->step();
  EXPECT_EQ(step.revived.size(), 4u);  // experts 1 and 3 of two layers
  for (const RevivedExpert& r : step.revived) EXPECT_NE(r.expert, 2);
  for (const auto& [name, value] : s.weights())
    if (name.find(".gate.weight") != std::string::npos ||
        name.find(".experts.2.") != std::string::npos) {
      EXPECT_TRUE(same_bits(value, before.at(name))) << name;
    }
}

}  // namespace
}  // namespace moe
