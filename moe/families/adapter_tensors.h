// SPDX-License-Identifier: MIT
// The tensors of a low-rank adapter's file, in each of PEFT's two forms. As modules: one pair per
// matrix, "<module>.lora_A.weight", each routed expert's matrices being modules of their own. As
// parameters (target_parameters), which is how transformers 5 holds routed experts: one pair for
// the stack of all experts, gate_proj and up_proj being the two halves of gate_up_proj.
// lora_A [E * r, in] goes expert by expert, lora_B [out, r * E] has the expert fastest.
// A mixture of LoRA experts (nn/moe/moe_lora.h) has names of our own, which PEFT does not know:
// "mlp.moe_lora.experts.3.up_proj.lora_A.weight" and "mlp.moe_lora.gate.weight".
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "moe/families/adapter_folder.h"
#include "moe/families/family.h"
#include "moe/io/safetensors_folder.h"

namespace moe {

/// One matrix of a site with all that a file holds for it, row-major, one entry for each expert (or
/// one): a [rank, in], b [rows, rank] (of an embedding a [V, rank], b [D, rank]), m [rows].
struct StoredTarget {
  size_t name = 0;  // of the site
  bool shared = false, mixture = false;
  int64_t rank = 0;
  double scale = 1;
  std::vector<Tensor> a, b, m = {};
};

class AdapterTensors {
 public:
  /// Opens a folder's file. `model` must outlive this.
  AdapterTensors(const TransformerLM& model, const std::string& folder, AdapterInfo info);
  /// What the file holds for a site. Tensors of the wrong shape and missing halves of a pair become
  /// problems.
  std::vector<StoredTarget> of_site(const LoraSite& site);
  /// Fills the routers of a mixture, which the model's adapter has already.
  void read_routers(const TransformerLM& model, int adapter);
  /// Throws Error that names the first problems, and the tensors that belonged to no site.
  void check_all_used();
  void add_problem(const std::string& text) { problems_.push_back(text); }
  const AdapterInfo& info() const { return info_; }

 private:
  /// Names that a module's tensor may have.
  std::vector<std::string> names_of(const std::string& path, const std::string& end) const;
  const SafetensorsFolder::Item* find(const std::vector<std::string>& names) const;
  /// The first of the names, in the model's type; null, and a problem, when it does not fit.
  Tensor take(const std::vector<std::string>& names, const Shape& shape);
  bool read_module(const LoraSite& site, StoredTarget& target, const std::string& path);
  std::vector<StoredTarget> of_stack(const LoraSite& site);
  double scale_of(const std::string& path, int64_t rank) const;

  const TransformerLM& model_;
  std::string folder_;
  AdapterInfo info_;
  const Family& family_;
  SafetensorsFolder files_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

/// An adapter as PEFT writes it: tensors, and what adapter_config.json says of them.
struct AdapterFile {
  std::vector<TensorSource> tensors;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> target_modules, target_parameters;
  std::vector<std::string> doubled;  // parameters with twice the rank: gate's and up's side by side
};
/// Routed experts as parameters where PEFT can hold them so: models of transformers, without DoRA.
AdapterFile adapter_file(const TransformerLM& model, int adapter, const LoraConfig& config);

}  // namespace moe
