// SPDX-License-Identifier: MIT
// The families by name; one line per file of this folder.
#pragma once

#include "moe/families/family.h"

namespace moe {

extern const Family kGpt2, kLlama, kQwen2, kQwen3, kQwen3Moe, kMixtral, kOlmoe, kMoeCpp;

}  // namespace moe
