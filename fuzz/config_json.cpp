// SPDX-License-Identifier: MIT
// config.json of every family: what is accepted resolves to layers, and what is written is read
// again and written the same.
#include "moe/families/family.h"

#include "fuzz/memory_file.h"

namespace {

struct Read {
  const moe::Family* family = nullptr;
  moe::ModelConfig config;
};

Read read_config(const moe::JsonObject& object) {
  const moe::JsonReader reader(object, "[fuzz]");
  Read out{&moe::find_family(reader.string("model_type"), "[fuzz]"), {}};
  out.config = out.family->read_config(reader);
  resolve_layers(out.config);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Read read;
  moe::fuzz::read([&] {
    const moe::Json json = moe::parse_json(moe::fuzz::text(data, size), "[fuzz]");
    if (json.is_object()) read = read_config(json.get_object());
  });
  if (!read.family) return 0;
  const moe::Family::Written written = read.family->write_config(read.config);
  if (!written.reason.empty()) return 0;
  moe::JsonObject object = written.config;
  object["model_type"] = read.family->model_type;
  object["vocab_size"] = read.config.vocab_size;  // what every model folder adds
  const moe::Family::Written again = read.family->write_config(read_config(object).config);
  moe::fuzz::require(moe::to_json_line(again.config) == moe::to_json_line(written.config));
  return 0;
}
