// SPDX-License-Identifier: MIT
#include "tests/families/oracle.h"

#include <cmath>
#include <limits>

#include "moe/base/fs.h"
#include "moe/ops/cross_entropy.h"

namespace moe {
namespace {

template <class T>
std::vector<T> numbers(const Json& array) {
  std::vector<T> out;
  for (const Json& value : array.as_array()) out.push_back(value.to_number<T>());
  return out;
}

std::vector<std::vector<int32_t>> id_lists(const Json& array) {
  std::vector<std::vector<int32_t>> out;
  for (const Json& list : array.as_array()) out.push_back(numbers<int32_t>(list));
  return out;
}

}  // namespace

std::string golden_folder(const std::string& name) {
  return join_path(join_path(MOE_GOLDEN_DIR, "families"), name);
}

Oracle::Oracle(const std::string& name)
    : folder(golden_folder(name)), tensors(join_path(folder, "oracle.safetensors")) {
  const Json json = read_json(join_path(folder, "oracle.json"), "[oracle] " + name);
  input_ids = id_lists(json.at("input_ids"));
  greedy = id_lists(json.at("greedy"));
  loss = numbers<double>(json.at("loss"));
  moe_layers = numbers<int64_t>(json.at("moe_layers"));
}

const std::vector<std::string>& oracle_names() {
  static const std::vector<std::string> names = {
      "gpt2",     "llama", "llama-rope3", "qwen2",        "qwen3",          "mixtral",
      "qwen3moe", "olmoe", "llama-bias",  "qwen3-window", "mixtral-window", "qwen3moe-window"};
  return names;
}

double element(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::f64: return t.data<double>()[size_t(i)];
    case DType::f32: return double(t.data<float>()[size_t(i)]);
    default: return double(t.data<int32_t>()[size_t(i)]);
  }
}

double max_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape().text(), b.shape().text());
  if (!(a.shape() == b.shape())) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double difference = std::abs(element(a, i) - element(b, i));
    if (!(difference <= largest))
      largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
  }
  return largest;
}

Var next_token_loss(const TransformerLM& model, const LmOutput& output,
                    const std::vector<std::vector<int32_t>>& sequences) {
  std::vector<int32_t> targets;
  int64_t tokens = 0;
  for (const std::vector<int32_t>& ids : sequences)
    for (size_t i = 0; i < ids.size(); ++i) {
      targets.push_back(i + 1 < ids.size() ? ids[i + 1] : -1);
      tokens += targets.back() >= 0;
    }
  return ops::cross_entropy(model.logits(output.hidden_TD),
                            Tensor::from<int32_t>({int64_t(targets.size())}, targets), tokens);
}

Digest digest_of(const Tensor& values) {
  Digest d;
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double x = element(values, i);
    d.norm += x * x;
    d.cos_sum += x * std::cos(double(i));
    if (i < 8) d.head.push_back(x);
  }
  d.norm = std::sqrt(d.norm);
  return d;
}

double expect_digest(const JsonObject& golden, const std::string& name, const Tensor& values,
                     double tolerance) {
  const Json* entry = golden.if_contains(name);
  EXPECT_TRUE(entry) << name << " is not in the golden file";
  if (!entry) return 0;
  const JsonObject& want = entry->as_object();
  const Digest have = digest_of(values);
  const double norm = want.at("norm").to_number<double>();
  double largest = std::max(std::abs(have.norm - norm),
                            std::abs(have.cos_sum - want.at("cos_sum").to_number<double>()));
  const std::vector<double> head = numbers<double>(want.at("head"));
  EXPECT_EQ(have.head.size(), head.size()) << name;
  for (size_t i = 0; i < std::min(head.size(), have.head.size()); ++i)
    largest = std::max(largest, std::abs(have.head[i] - head[i]));
  EXPECT_LE(largest, tolerance * norm) << name;
  return norm > 0 ? largest / norm : largest;
}

Tensor content_of(const TensorSource& source) {
  std::vector<std::byte> bytes;
  source.content([&](std::span<const std::byte> part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  });
  EXPECT_EQ(bytes.size(), source.bytes()) << source.name;
  const Tensor out = Tensor::empty(source.shape, source.dtype);
  std::copy(bytes.begin(), bytes.end(), out.raw());
  return out;
}

}  // namespace moe
