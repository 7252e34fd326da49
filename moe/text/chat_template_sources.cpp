// SPDX-License-Identifier: MIT
// The templates of model families, written for this program from the formats that they print.
#include "moe/text/chat_template.h"

namespace moe {
namespace {

constexpr std::string_view kChatml = R"({%- for m in messages -%}
{{ '<|im_start|>' + m.role + '\n' }}{% generation %}{{ m.content }}{{ '<|im_end|>' }}{% endgeneration %}{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

}  // namespace

std::vector<BuiltInTemplate> built_in_templates() { return {{"chatml", kChatml}}; }

std::optional<std::string_view> find_built_in_template(std::string_view name) {
  for (const BuiltInTemplate& t : built_in_templates())
    if (t.name == name) return t.source;
  return std::nullopt;
}

}  // namespace moe
