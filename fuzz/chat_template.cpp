// SPDX-License-Identifier: MIT
// Templates: parsed and rendered within bounds, or refused in one line.
#include "moe/text/chat_template.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return moe::fuzz::read([&] {
    const moe::ChatTemplate t(moe::fuzz::text(data, size), "[fuzz]");
    const moe::Json chat = moe::parse_json(
        R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x"}], "d": {"k": [1, 2.5]}})",
        "[fuzz]");
    moe::jinja::Value context = moe::jinja::from_json(chat, moe::jinja::kContent);
    const moe::Rendered r =
        t.render(context, 0, {.steps = 100'000, .output_bytes = size_t{1} << 20});
    moe::fuzz::require(r.text.origins.empty() || r.text.origins.size() == r.text.bytes.size());
  });
}
