// SPDX-License-Identifier: MIT
#include "moe/optim/optimizer.h"

#include "moe/base/parallel.h"
#include "moe/optim/adamw.h"
#include "moe/optim/muon.h"
#include "moe/optim/sgd.h"

namespace moe {

int optimizer_slots(const OptimConfig& config) {
  return (config.name == "adamw" ? 2 : 1) + (config.ema > 0 ? 1 : 0);
}

bool decays(Role role) {
  return role == Role::matrix || role == Role::embedding || role == Role::head ||
         role == Role::router;
}

void add_l1_gradient(const std::vector<Parameter>& parameters, double l1) {
  if (l1 == 0) return;
  for (const Parameter& p : parameters) {
    if (!decays(p.role)) continue;
    auto add = [&](auto w, auto g) {
      using T = std::remove_cvref_t<decltype(w[0])>;
      parallel_for(int64_t(w.size()), 4096, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          g[size_t(i)] += T(l1) * T((w[size_t(i)] > 0) - (w[size_t(i)] < 0));
      });
    };
    if (p.var.dtype() == DType::f64)
      add(p.var.value().data<double>(), p.var.grad().data<double>());
    else
      add(p.var.value().data<float>(), p.var.grad().data<float>());
  }
}

std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config,
                                          std::vector<Parameter> parameters) {
  if (config.name == "adamw")
    return std::make_unique<AdamWOptimizer>(config, std::move(parameters));
  if (config.name == "sgd") return std::make_unique<SgdOptimizer>(config, std::move(parameters));
  if (config.name == "muon") return std::make_unique<MuonOptimizer>(config, std::move(parameters));
  throw Error(
      str("[optim] unknown optimiser '", printable(config.name, 40), "'; use adamw, sgd or muon"),
      ExitCode::usage);
}

}  // namespace moe
