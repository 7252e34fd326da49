// SPDX-License-Identifier: MIT
// Several sources as one: shares, limits, order, and every place reached directly.
#include "moe/data/mixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <set>

#include "moe/base/rng.h"
#include "moe/data/chat_dataset.h"
#include "moe/data/dataset.h"
#include "moe/data/loader.h"
#include "moe/data/prepare.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

// The rule as it is written: the source that is furthest behind; the first of equal ones.
std::vector<int64_t> by_the_rule(const std::vector<int64_t>& weights, int64_t n) {
  const int64_t sum = std::accumulate(weights.begin(), weights.end(), int64_t{0});
  std::vector<int64_t> taken(weights.size(), 0), out;
  for (int64_t k = 0; k < n; ++k) {
    size_t most = 0;
    for (size_t i = 1; i < weights.size(); ++i)
      if (weights[i] * (k + 1) - sum * taken[i] > weights[most] * (k + 1) - sum * taken[most])
        most = i;
    ++taken[most];
    out.push_back(int64_t(most));
  }
  return out;
}

TEST(WholeWeights, AreExactForDecimalsAndCounts) {
  EXPECT_EQ(whole_weights({0.7, 0.3}), (std::vector<int64_t>{7, 3}));
  EXPECT_EQ(whole_weights({2, 4, 6}), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(whole_weights({0.125, 0.25}), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(whole_weights({1e12, 1e12}), (std::vector<int64_t>{1, 1}));
  const auto thirds = whole_weights({1.0 / 3, 2.0 / 3, 1e-9});
  EXPECT_NEAR(double(thirds[1]) / double(thirds[0]), 2, 1e-3);
  EXPECT_EQ(thirds[2], 1);  // seldom, but seen
}

TEST(MixtureOrder, IsTheRuleOfTheLargestDeficitAtEveryPlace) {
  for (const std::vector<int64_t>& weights : std::vector<std::vector<int64_t>>{
           {1}, {7, 3}, {1, 1, 1}, {5, 1, 3}, {1, 99}, {100, 1, 7, 13, 29}}) {
    std::vector<MixtureOrder::Source> sources;
    for (const int64_t w : weights) sources.push_back({double(w) * 0.01, 0});
    const MixtureOrder order(sources);
    EXPECT_EQ(order.n_places(), 0);
    constexpr int64_t kPlaces = 1000;
    const auto want = by_the_rule(weights, kPlaces);
    std::vector<int64_t> taken(weights.size(), 0);
    for (int64_t k = 0; k < kPlaces; ++k) {
      EXPECT_EQ(order.taken(k), taken);
      const auto [source, before] = order.at(k);
      EXPECT_EQ(source, want[size_t(k)]) << k;
      EXPECT_EQ(before, taken[size_t(source)]++);
    }
  }
}

TEST(MixtureOrder, ASourceAtItsLimitLeavesItsShareToTheOthers) {
  const RngStream draws(1, 0, "test");
  for (int64_t trial = 0; trial < 60; ++trial) {
    std::vector<MixtureOrder::Source> sources;
    bool endless = false;
    for (int64_t i = 0; i <= int64_t(draws.below(5, trial, 0)); ++i) {
      sources.push_back(
          {draws.uniform(trial, 10 + i) + 0.01, int64_t(draws.below(40, trial, 20 + i))});
      endless = endless || sources.back().limit == 0;
    }
    const MixtureOrder order(sources);
    int64_t total = 0;
    for (const auto& s : sources) total += s.limit;
    EXPECT_EQ(order.n_places(), endless ? 0 : total);
    std::vector<int64_t> taken(sources.size(), 0);
    for (int64_t k = 0; k < 3 * total + 50; ++k) {
      EXPECT_EQ(order.taken(k), taken) << trial << " " << k;
      const auto [source, before] = order.at(k);
      ASSERT_EQ(before, taken[size_t(source)]++) << trial << " " << k;
      if (endless || k < total) {
        const int64_t limit = sources[size_t(source)].limit;
        EXPECT_TRUE(limit == 0 || before < limit);
      }
    }
  }
  // After the second is used up, the first and the third share as 1 and 3.
  const MixtureOrder order({{1, 0}, {4, 8}, {3, 0}});
  const auto at_end = order.taken(16), later = order.taken(16 + 40);
  EXPECT_EQ(at_end, (std::vector<int64_t>{2, 8, 6}));
  EXPECT_EQ(later, (std::vector<int64_t>{12, 8, 36}));
}

TEST(MixtureOrder, PlacesFarAwayAreReachedDirectly) {
  const MixtureOrder order({{0.7, 0}, {0.3, int64_t{1} << 40}});
  const int64_t far = int64_t{1} << 41;  // 0.3 of it is below the limit
  const auto taken = order.taken(far);
  EXPECT_NEAR(double(taken[0]), 0.7 * double(far), 1);
  EXPECT_EQ(order.taken(far + 1)[size_t(order.at(far).source)],
            taken[size_t(order.at(far).source)] + 1);
  EXPECT_EQ(order.taken(int64_t{1} << 50)[1], int64_t{1} << 40);
}

TEST(MixtureOrder, WeightsThatAreNoneAreRefused) {
  EXPECT_THROW(MixtureOrder({}), Error);
  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity()})
    EXPECT_THROW(MixtureOrder({{1, 0}, {bad, 0}}), Error) << bad;
}

// n windows whose ids are first + their number.
class Numbered : public Windows {
 public:
  Numbered(int64_t n, int32_t first) : n_(n), first_(first) {}
  int64_t count() const override { return n_; }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override {
    append_sequence(batch, std::vector<int32_t>(3, first_ + int32_t(w)), first_token_index,
                    Batch::kNoSubject);
  }

 private:
  int64_t n_;
  int32_t first_;
};

std::shared_ptr<MixedWindows> mixed(double epochs_of_second = 0) {
  return std::make_shared<MixedWindows>(std::vector<MixedWindows::Source>{
      {std::make_shared<Numbered>(50, 0), 3, 0},
      {std::make_shared<Numbered>(1, 1000), 1, 0},
      {std::make_shared<Numbered>(10, 2000), 2, epochs_of_second}});
}

std::vector<int32_t> ids(const Batch& batch) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < batch.token_ids_T.size(); i += 2) {
    out.push_back(batch.token_ids_T[i]);
    EXPECT_EQ(batch.subject_T[i], batch.token_ids_T[i] / 1000);
  }
  return out;
}

TEST(MixedWindows, EachSourceIsShuffledByItselfAndSeenWholeInEachOfItsPasses) {
  const auto windows = mixed();
  std::vector<std::vector<int64_t>> seen(3);
  for (int64_t k = 0; k < 600; ++k) {
    const int64_t w = windows->at(k, 7, true);
    seen[size_t(w < 50 ? 0 : w < 51 ? 1 : 2)].push_back(w);
  }
  EXPECT_EQ(seen[0].size(), 300u);
  EXPECT_EQ(seen[1].size(), 100u);
  EXPECT_EQ(seen[2].size(), 200u);
  for (const auto& [source, n] : {std::pair{0, 50}, {2, 10}})
    for (size_t pass = 0; pass < 6; ++pass) {
      const auto begin = seen[size_t(source)].begin() + int64_t(pass) * n;
      EXPECT_EQ(std::set<int64_t>(begin, begin + n).size(), size_t(n));
    }
  EXPECT_NE(std::vector<int64_t>(seen[2].begin(), seen[2].begin() + 10),
            std::vector<int64_t>(seen[2].begin() + 10, seen[2].begin() + 20));
  std::vector<int64_t> in_order;
  for (int64_t k = 0; in_order.size() < 12; ++k)
    if (const int64_t w = windows->at(k, 7, false); w < 50) in_order.push_back(w);
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(in_order[size_t(i)], i);
}

TEST(MixedWindows, FractionsOfEpochsLimitASource) {
  const auto windows = mixed(1.5);
  EXPECT_EQ(windows->taken(10'000)[2], 15);
  const auto all = std::make_shared<MixedWindows>(std::vector<MixedWindows::Source>{
      {std::make_shared<Numbered>(50, 0), 3, 0.5}, {std::make_shared<Numbered>(3, 1000), 1, 0.1}});
  EXPECT_EQ(all->n_places(), 26);  // at least one window of a source
}

TEST(MixedWindows, WithoutWeightsEveryWindowComesOnceInAPass) {
  const MixedWindows windows(
      {{std::make_shared<Numbered>(50, 0), 0, 0}, {std::make_shared<Numbered>(10, 1000), 0, 0}});
  std::set<int64_t> seen;
  for (int64_t k = 60; k < 120; ++k) seen.insert(windows.at(k, 3, true));
  EXPECT_EQ(seen.size(), 60u);
}

TEST(MixedWindows, ARandomPlaceToGoOnGivesTheSameBatches) {
  for (const int64_t grad_accum : {1, 2, 4}) {
    const LoaderConfig sizes{
        .batch_size = 8 / grad_accum, .grad_accum = grad_accum, .seq_len = 2, .seed = 5};
    const Loader whole(mixed(2.5), {.batch_size = 8, .grad_accum = 1, .seq_len = 2, .seed = 5});
    const Loader resumed(mixed(2.5), sizes);
    for (const int64_t step : {37, 3, 0, 100'000, 36}) {
      std::vector<int32_t> parts;
      for (int64_t m = 0; m < grad_accum; ++m) {
        const auto more = ids(resumed.batch(step, m));
        parts.insert(parts.end(), more.begin(), more.end());
      }
      EXPECT_EQ(ids(whole.batch(step, 0)), parts);
    }
  }
}

// ---- files ------------------------------------------------------------------------------

class MixtureFiles : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) {
    write_file_atomic(real_fs(), folder_ / name, content);
    return folder_ / name;
  }
  static std::string records(int n, const std::string& word) {
    std::string out;
    for (int i = 0; i < n; ++i)
      out += to_json_line(JsonObject{{"text", str(word, " ", i, " ", word)}}) + "\n";
    return out;
  }
  static std::string chats(int n) {
    std::string out;
    for (int i = 0; i < n; ++i)
      out += to_json_line(JsonObject{
                 {"messages", JsonArray{JsonObject{{"role", "user"}, {"content", str("a", i)}},
                                        JsonObject{{"role", "assistant"}, {"content", "b"}}}}}) +
             "\n";
    return out;
  }
  static DataConfig config(std::vector<DataSource> sources) {
    DataConfig c;
    c.mixture = std::move(sources);
    c.seq_len = 8;
    return c;
  }
  static std::string error_with(const DataConfig& c) {
    return error_of([&] { open_dataset(c, 1); });
  }
  const TempFolder folder_;
};

TEST_F(MixtureFiles, TextsShardsAndTokenFilesTogether) {
  const std::string a = write("a.jsonl", records(40, "alpha")), b = write("b.txt", "one document");
  const std::string c = write("c.bin", std::string(100, '\0'));
  PrepareOptions options{.inputs = {write("d.jsonl", records(20, "delta"))}, .out = folder_ / "d"};
  prepare_data(real_fs(), options);
  const Dataset data = open_dataset(
      config({{a, 0.5, 0}, {b, 2, 0}, {c, 0.25, 0}, {folder_ / "d", 1, 2}, {"demo", 1, 0}}), 1);
  EXPECT_EQ(data.vocab_size, 257);
  EXPECT_EQ(data.subject_names,
            (std::vector<std::string>{"a.jsonl", "b.txt", "c.bin", "d", "demo"}));
  EXPECT_EQ(data.validation_windows[1], 0);  // too short to be split
  EXPECT_GT(data.validation_windows[0], 0);
  EXPECT_EQ(data.n_train_tokens, 0);  // the demo has no end
  EXPECT_EQ(data.mixture->taken(1 << 20)[3], 2 * data.mixture->windows_of(3));
  for (int64_t w = 0; w < data.validation->count(); ++w) {
    Batch batch = empty_batch();
    data.validation->append(w, 0, batch);
    EXPECT_EQ(batch.n_targets, data.validation->n_targets(w));
  }
}

TEST_F(MixtureFiles, ACharTokenizerKnowsTheCharactersOfAllSources) {
  DataConfig c = config(
      {{write("a.txt", std::string(50, 'a')), 1, 0}, {write("b.txt", std::string(50, 'b')), 1, 0}});
  c.tokenizer = "char";
  EXPECT_EQ(open_dataset(c, 1).vocab_size, 2);
}

TEST_F(MixtureFiles, ConversationsMixToo) {
  const ChatEncoder encoder(find_chat_template("chatml"),
                            std::shared_ptr<const Tokenizer>(make_byte_tokenizer()));
  DataConfig c =
      config({{write("a.jsonl", chats(30)), 3, 0}, {write("one.jsonl", chats(1)), 1, 0}});
  c.seq_len = 100;
  const Dataset data = open_chat_dataset(c, encoder);
  EXPECT_EQ(data.mixture->windows_of(1), 1);
  EXPECT_EQ(data.validation_windows[1], 0);
  EXPECT_GT(data.validation_windows[0], 0);
  EXPECT_EQ(data.mixture->taken(400), (std::vector<int64_t>{300, 100}));
}

TEST_F(MixtureFiles, WhatCannotBeIsRefusedByName) {
  const std::string a = write("a.jsonl", records(40, "alpha"));
  EXPECT_THAT(error_with(config({{a, 1, 0}, {write("empty.jsonl", ""), 1, 0}})),
              HasSubstr("empty.jsonl"));
  EXPECT_THAT(error_with(config({{a, 1, 0}, {write("tiny.txt", "ab"), 1, 0}})),
              HasSubstr("tiny.txt"));
  EXPECT_THAT(error_with(config({{a, 1, 0}, {"", 1, 0}})),
              HasSubstr("data.mixture[1] has no path"));
  EXPECT_THAT(error_with(config({{a, 1, 0}, {a, 0, 0}})),
              HasSubstr("data.mixture[1] has no weight"));
  EXPECT_THAT(error_with(config({{a, 0, 0}, {a, 1, 0}})),
              HasSubstr("data.mixture[1] has a weight"));
  EXPECT_THAT(error_with(config({{a, 1, 0}, {write("c.bin", std::string(100, '\1')), 1, 0}})),
              HasSubstr("ids up to 257"));
  EXPECT_THAT(error_with(config({{a, 0, 0}, {"demo", 0, 0}})), HasSubstr("has no end"));
  EXPECT_THAT(error_with(config({{a, 1, 0}, {"demo", 1, 2}})), HasSubstr("has no end"));
}

TEST(DataMixtureKey, ReadsListsAndNamesWhatIsWrong) {
  DataConfig c;
  ConfigTable table;
  add_data_keys(table, c);
  table.read_yaml(
      "data:\n  mixture:\n    - {path: a, weight: 0.7}\n    - path: b\n      weight: 3\n"
      "      epochs: 1.5\n",
      "f");
  ASSERT_EQ(c.mixture.size(), 2u);
  EXPECT_EQ(c.mixture[0].weight, 0.7);
  EXPECT_EQ(c.mixture[1].epochs, 1.5);
  const std::string yaml = table.to_yaml();
  EXPECT_THAT(yaml, HasSubstr("mixture: [{path: a, weight: 0.7, epochs: any}, {path: b, "));
  DataConfig again;
  ConfigTable other;
  add_data_keys(other, again);
  other.read_yaml(yaml, "f");
  EXPECT_EQ(other.to_yaml(), yaml);
  table.set("data.mixture", "[a.jsonl, b/]");
  EXPECT_EQ(c.mixture[1].path, "b/");
  EXPECT_EQ(c.mixture[1].weight, 0);
  EXPECT_EQ(c.paths(), (std::vector<std::string>{"a.jsonl", "b/"}));
  const auto refused = [&](const std::string& value) {
    return error_of([&] { table.apply_overrides({"data.mixture=" + value}); });
  };
  EXPECT_THAT(refused("[{path: a, wieght: 1}]"),
              HasSubstr("data.mixture[0]: unknown key wieght; did you mean weight?"));
  for (const char* bad : {"0", "-1", "x", ".nan", ".inf", "''", "[1]"})
    EXPECT_THAT(refused(str("[{path: a, weight: 1}, {path: b, weight: ", bad, "}]")),
                HasSubstr("data.mixture[1]: weight is"))
        << bad;
  EXPECT_THAT(refused("[{path: a, epochs: -0.5}]"),
              HasSubstr("epochs is -0.5, must be a number above 0, or any"));
  EXPECT_THAT(refused("{path: a}"), HasSubstr("must be a list"));
  EXPECT_THAT(refused("[[a]]"), HasSubstr("must be a group of keys"));
  EXPECT_THAT(refused("a.jsonl"), HasSubstr("must be a list"));
  table.set("data.mixture", "[]");
  EXPECT_TRUE(c.mixture.empty());
}

}  // namespace
}  // namespace moe
