// SPDX-License-Identifier: MIT
#include "moe/families/families.h"

namespace moe {

const std::vector<const Family*>& family_table() {
  static const std::vector<const Family*> table = {&kLlama,   &kQwen2, &kQwen3, &kQwen3Moe,
                                                   &kMixtral, &kOlmoe, &kGpt2,  &kMoeCpp};
  return table;
}

const Family& find_family(const std::string& model_type, const std::string& what) {
  std::vector<std::string> names;
  for (const Family* family : family_table()) {
    if (model_type == family->model_type) return *family;
    names.emplace_back(family->model_type);
  }
  const std::string near = nearest_word(model_type, names);
  throw Error(str(what, ": model_type '", printable(model_type, 60), "' is not supported",
                  near.empty() ? "" : " (nearest: " + near + ")",
                  "; these are: ", join(names, ", ")));
}

const Family& family_for(const ModelConfig& config) {
  for (const Family* family : family_table())
    if (family != &kMoeCpp && family->write_config(config).reason.empty()) return *family;
  return kMoeCpp;
}

std::string why_own_format(const ModelConfig& config) {
  std::vector<std::string> reasons;
  for (const Family* family : family_table())
    if (family != &kMoeCpp)
      reasons.push_back(str(family->model_type, " ", family->write_config(config).reason));
  return join(reasons, "; ");
}

}  // namespace moe
