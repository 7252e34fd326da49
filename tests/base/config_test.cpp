// SPDX-License-Identifier: MIT
#include "moe/base/config.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "moe/base/rng.h"

#include "allocation_peak.h"
#include "temp_folder.h"

namespace moe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A configuration like the program's, small.
struct Settings {
  std::string run_dir = "runs/demo", router = "top_k", optimizer = "adamw", init_from;
  int n_layers = 6, d_ff = 1024, moe_d_ff = 512, n_experts = 8;
  int64_t steps = 1000, seed = 1;
  double lr = 1e-3, eps = 1e-8, min_loss = 0;
  bool bias = false, has_moe = false;
  std::vector<double> betas = {0.9, 0.95};
  ConfigTable table;

  Settings() {
    table.string("run_dir", run_dir, "Where the run is written.");
    table.integer("model.n_layers", n_layers, 1, 1000, "Blocks.");
    table.integer("model.d_ff", d_ff, 1, std::numeric_limits<int>::max(), "Inner width.");
    table.boolean("model.bias", bias, "Biases.");
    table.string("model.init_from", init_from, "Folder to start from.");
    table.integer("model.moe.n_experts", n_experts, 1, 4096, "Experts.");
    table.integer("model.moe.d_ff", moe_d_ff, 1, 1 << 20, "Inner width of an expert.");
    table.choice("model.moe.router", router, {"top_k", "sigmoid_bias", "expert_choice"}, "Router.");
    table.optional_group("model.moe", has_moe, "Mixture of experts.");
    table.choice("optim.name", optimizer, {"adamw", "sgd", "muon"}, "Optimiser.");
    table.number("optim.lr", lr, 0, 1, "Learning rate.");
    table.numbers("optim.betas", betas, 2, 0, 1, "Decay of the moments.");
    table.number("optim.eps", eps, 0, kInfinity, "Added to the denominator.");
    table.integer("train.steps", steps, 0, std::numeric_limits<int64_t>::max(), "Steps.");
    table.integer("train.seed", seed, std::numeric_limits<int64_t>::min(),
                  std::numeric_limits<int64_t>::max(), "Seed.");
  }
  std::string read(const std::string& yaml) {
    return error_of([&] { table.read_yaml(yaml, "c.yaml"); });
  }
  std::string override_with(const std::vector<std::string>& key_values) {
    return error_of([&] { table.apply_overrides(key_values); });
  }
};

TEST(Config, AFileSetsTheFields) {
  Settings s;
  EXPECT_EQ(s.read("run_dir: runs/a b\n"
                   "model:\n"
                   "  n_layers: 12   # a comment\n"
                   "  bias: true\n"
                   "optim: {lr: 3e-4, betas: [0.8, 1], name: muon}\n"
                   "train.steps: 5\n"),
            "");
  EXPECT_EQ(s.run_dir, "runs/a b");
  EXPECT_EQ(s.n_layers, 12);
  EXPECT_TRUE(s.bias);
  EXPECT_EQ(s.lr, 3e-4);
  EXPECT_EQ(s.betas, (std::vector<double>{0.8, 1}));
  EXPECT_EQ(s.optimizer, "muon");
  EXPECT_EQ(s.steps, 5);
  EXPECT_TRUE(s.table.was_set("model.n_layers"));
  EXPECT_FALSE(s.table.was_set("model.d_ff"));
}

TEST(Config, JsonIsReadToo) {
  Settings s;
  EXPECT_EQ(s.read("{\"run_dir\": \"x\\u00e9\", \"model\": {\"n_layers\": 3, \"moe\": null}}"), "");
  EXPECT_EQ(s.run_dir, "x\xC3\xA9");
  EXPECT_EQ(s.n_layers, 3);
}

TEST(Config, AnEmptyFileOrGroupChangesNothing) {
  Settings s;
  EXPECT_EQ(s.read(""), "");
  EXPECT_EQ(s.read("# nothing\n"), "");
  EXPECT_EQ(s.read("model:\ntrain: {}\n"), "");
  EXPECT_EQ(s.n_layers, 6);
}

TEST(Config, ErrorsNameFileAndLine) {
  Settings s;
  EXPECT_EQ(s.read("run_dir: a\nmodel:\n  n_layers: 0\n"),
            "[config] c.yaml:3: model.n_layers is 0, must be an integer, 1 to 1000");
  EXPECT_EQ(s.read("\n\nmodel: 3"), "[config] c.yaml:3: model is a group of keys, found 3");
  EXPECT_EQ(s.read("- a"),
            "[config] c.yaml:1: expected keys with values, such as `run_dir: runs/a`");
  EXPECT_TRUE(s.read("a: [1, 2").starts_with("[config] c.yaml:1: ")) << s.read("a: [1, 2");
  EXPECT_TRUE(s.read("x: 1\n\ty: 2").starts_with("[config] c.yaml:2: "));
}

TEST(Config, UnknownKeysNameTheNearestValidOne) {
  Settings s;
  EXPECT_EQ(s.read("model: {n_layer: 3}"),
            "[config] c.yaml:1: unknown key model.n_layer; did you mean model.n_layers?");
  EXPECT_EQ(s.read("modle: {n_layers: 3}"),
            "[config] c.yaml:1: unknown key modle; did you mean model?");
  EXPECT_EQ(s.read("n_experts: 3"),
            "[config] c.yaml:1: unknown key n_experts; did you mean model.moe.n_experts?");
  EXPECT_EQ(s.read("d_ff: 3"),
            "[config] c.yaml:1: unknown key d_ff; did you mean model.d_ff or model.moe.d_ff?");
  EXPECT_EQ(s.read("experts: 3"),
            "[config] c.yaml:1: unknown key experts; did you mean model.moe.n_experts?");
  EXPECT_EQ(s.read("optim: {learning_rate: 3}"),
            "[config] c.yaml:1: unknown key optim.learning_rate; optim has name, lr, betas, eps");
  EXPECT_EQ(s.read("banana: 3"),
            "[config] c.yaml:1: unknown key banana; `moe config schema` lists all keys");
  EXPECT_EQ(s.read("model: {moe: {routr: top_k}}"),
            "[config] c.yaml:1: unknown key model.moe.routr; did you mean model.moe.router?");
}

TEST(Config, DuplicateKeysAreRefusedInEverySpelling) {
  Settings s;
  EXPECT_EQ(s.read("run_dir: a\nrun_dir: b"),
            "[config] c.yaml:2: the key \"run_dir\" occurs twice, first in line 1");
  EXPECT_NE(s.read("model: {n_layers: 1, n_layers: 2}"), "");
  EXPECT_NE(s.read("model: {n_layers: 1}\nmodel: {d_ff: 2}"), "");
  EXPECT_EQ(s.read("model.n_layers: 1\nmodel: {n_layers: 2}"),
            "[config] c.yaml:2: model.n_layers is given twice");
}

TEST(Config, AnchorsAliasesTagsAndSecondDocumentsAreRefused) {
  Settings s;
  EXPECT_NE(s.read("run_dir: &a x"), "");
  EXPECT_NE(s.read("run_dir: &a x\nmodel: {init_from: *a}"), "");
  EXPECT_NE(s.read("run_dir: *a"), "");
  EXPECT_NE(s.read("train: {steps: !!int 3}"), "");
  EXPECT_NE(s.read("run_dir: !!python/object:os.system x"), "");
  EXPECT_NE(s.read("run_dir: a\n---\nrun_dir: b"), "");
  EXPECT_NE(s.read("? [a, b]\n: 3"), "");
}

TEST(Config, LimitsOfSizeAndDepthHold) {
  Settings s;
  EXPECT_NE(s.read(std::string(20, '[')), "");
  EXPECT_NE(s.read("run_dir: " + std::string(15, '[') + "x" + std::string(15, ']'))
                .find("must be a string"),
            std::string::npos);
  EXPECT_NE(s.read("run_dir: " + std::string(16, '[') + "x" + std::string(16, ']'))
                .find("nested deeper than 16"),
            std::string::npos);
  EXPECT_EQ(s.read("run_dir: " + std::string(64 << 10, 'x')), "");
  EXPECT_NE(s.read("run_dir: " + std::string((64 << 10) + 1, 'x')), "");
  EXPECT_NE(s.read("# " + std::string(1 << 20, 'x')), "");
  EXPECT_NE(s.read(std::string(200, 'x') + ": 1").find("a key of 200 bytes"), std::string::npos);
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "c.yaml", "# " + std::string(1 << 20, 'x'));
  EXPECT_NE(error_of([&] { s.table.read_file(folder / "c.yaml"); }), "");
}

TEST(Config, TextThatIsNoUtf8OrHoldsZerosIsRefused) {
  Settings s;
  EXPECT_NE(s.read("run_dir: \xFF"), "");
  EXPECT_NE(s.read(std::string("run_dir: a\0b", 12)), "");
}

TEST(Config, IntegersAreIntegers) {
  Settings s;
  for (const char* bad : {"1e3", "1.0", "1_000", "0x10", "\"10\"", "ten", "", "null", "true", "[1]",
                          "9223372036854775808", "-1", "+-1", "1 2"})
    EXPECT_NE(s.override_with({std::string("train.steps=") + bad}), "") << bad;
  EXPECT_EQ(s.override_with({"train.steps=9223372036854775807", "train.seed=-9223372036854775808"}),
            "");
  EXPECT_EQ(s.steps, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(s.seed, std::numeric_limits<int64_t>::min());
  EXPECT_NE(s.override_with({"model.d_ff=2147483648"}), "")
      << "an int field takes no more than an int";
  EXPECT_EQ(s.override_with({"train.steps=+7"}), "");
}

TEST(Config, NumbersTakeEverySpellingInRange) {
  Settings s;
  for (const char* good : {"1", "0", "1e-3", "1.0e-6", "1E-3", "+0.5", ".5", "1."})
    EXPECT_EQ(s.override_with({std::string("optim.lr=") + good}), "") << good;
  for (const char* bad :
       {"nan", ".nan", "inf", ".inf", "1e999", "-0.1", "1.1", "\"1\"", "1e", "abc", "", "1,0"})
    EXPECT_NE(s.override_with({std::string("optim.lr=") + bad}), "") << bad;
  EXPECT_EQ(s.override_with({"optim.eps=.inf"}), "") << "infinity where the range has it";
  EXPECT_EQ(s.eps, kInfinity);
}

TEST(Config, BooleansAreTrueOrFalse) {
  Settings s;
  EXPECT_EQ(s.override_with({"model.bias=true"}), "");
  EXPECT_TRUE(s.bias);
  for (const char* bad : {"yes", "1", "on", "\"true\"", ""})
    EXPECT_EQ(s.override_with({std::string("model.bias=") + bad}).substr(0, 22),
              "[config] model.bias is")
        << bad;
}

TEST(Config, ChoicesNameTheAlternatives) {
  Settings s;
  EXPECT_EQ(s.override_with({"optim.name=adam"}),
            "[config] optim.name is adam, must be one of adamw | sgd | muon; did you mean adamw?");
  EXPECT_EQ(s.optimizer, "adamw");
}

TEST(Config, AChoiceThatCanBeTrueOrFalseIsWrittenAsABoolean) {
  std::string qk_norm = "true";
  ConfigTable table;
  table.choice("qk_norm", qk_norm, {"true", "false", "per_row"}, "a norm");
  EXPECT_EQ(table.to_yaml(), "qk_norm: true\n");
  table.read_yaml("qk_norm: false", "x");
  EXPECT_EQ(qk_norm, "false");
  EXPECT_EQ(table.to_yaml(), "qk_norm: false\n");
  table.read_yaml("qk_norm: \"per_row\"", "x");
  EXPECT_EQ(table.to_yaml(), "qk_norm: per_row\n");
}

TEST(Config, AStringOrAListTakesBothAndWritesBackWhatItIs) {
  std::string layers = "all";
  ConfigTable table;
  table.string_or_list("layers", layers, "which layers");
  const auto read = [&](const std::string& yaml) {
    table.read_yaml(yaml, "x");
    return layers;
  };
  for (const char* yaml : {"layers: [2,5,8,11]", "layers: [2, 5,  8, 11]", "layers: \"[2,5,8,11]\"",
                           "layers:\n- 2\n- 5\n- 8\n- 11\n"})
    EXPECT_EQ(read(yaml), "[2,5,8,11]") << yaml;
  EXPECT_EQ(table.to_yaml(), "layers: [2, 5, 8, 11]\n");
  EXPECT_EQ(read(table.to_yaml()), "[2,5,8,11]");
  table.apply_overrides({"layers=[1]"});
  EXPECT_EQ(layers, "[1]");
  for (const char* word : {"all", "every:2", "first_dense:1", "16-31", "[]", "[1"}) {
    layers = word;
    const std::string yaml = table.to_yaml();
    layers = "";
    EXPECT_EQ(read(yaml), word) << yaml;
  }
  for (const char* bad :
       {"layers: [a]", "layers: [-1]", "layers: [1.5]", "layers: {a: 1}", "layers: [[1]]"})
    EXPECT_THROW(read(bad), Error) << bad;
}

TEST(Config, OverridesApplyInOrder) {
  Settings s;
  EXPECT_EQ(s.override_with({"train.steps=5", "train.steps=6", " optim.betas = [0.5, 0.6]"}), "");
  EXPECT_EQ(s.steps, 6);
  EXPECT_EQ(s.betas, (std::vector<double>{0.5, 0.6}));
}

TEST(Config, AStringOverrideIsTakenAsItStands) {
  Settings s;
  for (const char* text : {"a #1: b", "a: b", "[x", "{", "* y", "- z", "it's", "!x", "true",
                           "~/runs", "a=b", "100", "\xE4\xB8\xAD", "@x", "%y"}) {
    EXPECT_EQ(s.override_with({std::string("run_dir=") + text}), "") << text;
    EXPECT_EQ(s.run_dir, text);
  }
  EXPECT_EQ(s.override_with({"run_dir=\"a\\tb\""}), "");
  EXPECT_EQ(s.run_dir, "a\tb");
  EXPECT_EQ(s.override_with({"run_dir="}), "");
  EXPECT_EQ(s.run_dir, "");
}

TEST(Config, ABadOverrideIsAUsageError) {
  Settings s;
  for (const char* bad : {"train.steps", "=3", "", "train.stesp=3", "train.steps=x", "model=3",
                          "run_dir=\"x", "optim.lr=[", "=", "model..d_ff=3"}) {
    try {
      s.table.apply_overrides({bad});
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage) << bad;
    }
  }
  EXPECT_EQ(s.override_with({"train.steps"}),
            "[config] \"train.steps\" is not key=value; write for example train.steps=50");
}

TEST(Config, AnOptionalGroupIsOnWhenPresent) {
  Settings s;
  EXPECT_EQ(s.read("model: {n_layers: 2}"), "");
  EXPECT_FALSE(s.has_moe);
  EXPECT_EQ(s.read("model: {moe: {}}"), "");
  EXPECT_TRUE(s.has_moe);
  EXPECT_EQ(s.read("model: {moe: null}"), "");
  EXPECT_FALSE(s.has_moe);
  EXPECT_EQ(s.read("model: {moe: {n_experts: 4}}"), "");
  EXPECT_TRUE(s.has_moe);
  EXPECT_EQ(s.override_with({"model.moe=~"}), "");
  EXPECT_FALSE(s.has_moe);
  EXPECT_FALSE(s.table.was_set("model.moe.n_experts"))
      << "switched off, its keys are as if never given";
  EXPECT_EQ(s.override_with({"model.moe.n_experts=5"}), "");
  EXPECT_TRUE(s.has_moe);
  EXPECT_EQ(s.override_with({"model.moe=null", "model.moe={n_experts: 6, router: expert_choice}"}),
            "");
  EXPECT_TRUE(s.has_moe);
  EXPECT_EQ(s.n_experts, 6);
}

TEST(ConfigToYaml, IsReadableAndLeavesAbsentGroupsOut) {
  Settings s;
  EXPECT_EQ(s.table.to_yaml(),
            "run_dir: runs/demo\n"
            "model:\n"
            "  n_layers: 6\n"
            "  d_ff: 1024\n"
            "  bias: false\n"
            "  init_from: \"\"\n"
            "optim:\n"
            "  name: adamw\n"
            "  lr: 0.001\n"
            "  betas: [0.9, 0.95]\n"
            "  eps: 1.0e-08\n"
            "train:\n"
            "  steps: 1000\n"
            "  seed: 1\n");
  s.has_moe = true;
  EXPECT_NE(s.table.to_yaml().find("  moe:\n    n_experts: 8\n    d_ff: 512\n    router: top_k\n"),
            std::string::npos);
}

TEST(ConfigToYaml, ReadsBackToTheSameValues) {
  const RngStream stream(1, 0, "config");
  const std::vector<std::string> strings = {
      "",     "null", "~",        "1",          "1e3",          "true", "a: b",
      "a #b", "- a",  "'x'",      "\"",         "\\",           "a\nb", " a ",
      "[a]",  "{a}",  "&a",       "*a",         "!a",           "|",    ">",
      "%",    "@",    "`",        "2024-01-01", "0x1F",         "no",   "...",
      "---",  ".inf", "\x01\x7F", "\xC2\x85",   "\xE2\x80\xA8", "=",    "<<",
      ",",    "a,b"};
  for (int round = 0; round < 300; ++round) {
    Settings s, back;
    s.run_dir = strings[round % strings.size()];
    s.init_from = strings[stream.below(strings.size(), round, 0)];
    s.lr = stream.uniform(round, 1);
    s.eps = std::ldexp(1 + stream.uniform(round, 2), int(stream.below(2000, round, 3)) - 1000);
    s.betas = {stream.uniform(round, 4), 1};
    s.seed = static_cast<int64_t>(stream.bits(round, 5));
    s.has_moe = round % 2 == 0;
    s.n_experts = 1 + round;
    ASSERT_EQ(back.read(s.table.to_yaml()), "") << s.table.to_yaml();
    ASSERT_EQ(back.run_dir, s.run_dir);
    ASSERT_EQ(back.init_from, s.init_from);
    ASSERT_EQ(back.lr, s.lr);
    ASSERT_EQ(back.eps, s.eps);
    ASSERT_EQ(back.betas, s.betas);
    ASSERT_EQ(back.seed, s.seed);
    ASSERT_EQ(back.has_moe, s.has_moe);
    ASSERT_EQ(back.table.to_yaml(), s.table.to_yaml());
    for (const ConfigKey& key : s.table.keys())
      ASSERT_EQ(error_of([&] { key.set(key.get()); }), "") << key.path;
  }
}

TEST(ConfigToYaml, KeysOfOneGroupNeedNotStandTogether) {
  int a = 1, b = 2, c = 3;
  bool on = true;
  ConfigTable table;
  table.integer("x.a", a, 0, 9, "");
  table.integer("y.b", b, 0, 9, "");
  table.integer("x.c", c, 0, 9, "");
  table.optional_group("z", on, "A group without keys.");
  EXPECT_EQ(table.to_yaml(), "x:\n  a: 1\n  c: 3\ny:\n  b: 2\nz: {}\n");
}

TEST(ConfigKeys, RangesAreTextForPeople) {
  const Settings s;
  EXPECT_EQ(s.table.find("model.n_layers")->range, "1 to 1000");
  EXPECT_EQ(s.table.find("model.d_ff")->range, ">= 1");
  EXPECT_EQ(s.table.find("train.seed")->range, "");
  EXPECT_EQ(s.table.find("optim.eps")->range, ">= 0");
  EXPECT_EQ(s.table.find("optim.betas")->range, "2 numbers, each 0 to 1");
  EXPECT_EQ(s.table.find("optim.name")->range, "adamw | sgd | muon");
}

TEST(Config, ACustomKeyMayTakeAListOrAMap) {
  std::string seen;
  ConfigTable table;
  table.add({.path = "layers",
             .type = "list",
             .range = "",
             .meaning = "",
             .set = [&](const std::string& yaml) { seen = yaml; },
             .get = [&] { return seen; }});
  table.read_yaml("layers:\n  - 2\n  - a, b\n  - {c: -1.5e-3, \"d e\": ~}\n", "c.yaml");
  EXPECT_EQ(seen, "[2, \"a, b\", {c: -1.5e-3, \"d e\": null}]");
}

TEST(Config, MemoryStaysBelowFourTimesTheTextPlusOneMiB) {
  for (const int n : {100, 2000, 20'000, 200'000})
    for (const char* item : {"0, ", "[0], ", "{a: 0}, ", "xxxxxxxxxxxxxxxxxxxxxxxx, ", "\"\", ",
                             "~,", "? ", "- ", "a: ", "\n"}) {
      std::string text = "run_dir: [";
      for (int i = 0; i < n; ++i) text += item;
      Settings s;
      const AllocationPeak peak;
      s.read(text);
      EXPECT_LE(peak.bytes(), 4 * text.size() + (1 << 20)) << item << " x " << n;
    }
}

// A collection that may be a key is read to its end before anything of it is seen.
TEST(Config, MemoryStaysBelowFourTimesAFloodOfBrackets) {
  for (const size_t n : {size_t(4000), size_t(4096), size_t(20'000), size_t(1'000'000)})
    for (const std::string begin : {"", "[", "\"\n#\", [", "[\n# don't\n", "# x\r["})
      for (const std::string item :
           {"[",    "{",     "[a,",   "{a,",    "{a: ",   "{a: {", "a,",  "[],",
            "{},",  "'':",   "\"x\"", "? ",     ": ",     "&a ",   "*a ", "!a ",
            "%a\n", "---\r", "...\n", "a\n#\n", "a #b\n", "- [\n", "[\n", "#[\n"}) {
        std::string text = begin;
        while (text.size() + item.size() <= n) text += item;
        Settings s;
        const AllocationPeak peak;
        s.read(text);
        EXPECT_LE(peak.bytes(), 4 * text.size() + (1 << 20)) << begin << item << " to " << n;
      }
}

TEST(Config, AConfigurationMayBeOneFlowMapBesideLongComments) {
  Settings s;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "  # a, b: [c], {d}, e, f, g, h, i, j\n";
  EXPECT_EQ(s.read(text + "{model: {n_layers: 3}}"), "");
  EXPECT_EQ(s.n_layers, 3);
}

TEST(Config, EveryTruncationAndManyFlipsGiveOneErrorOrNone) {
  Settings s;
  s.has_moe = true;
  const std::string text = s.table.to_yaml() + "# end\n";
  for (size_t n = 0; n < text.size(); ++n) {
    const std::string error = Settings().read(text.substr(0, n));
    ASSERT_TRUE(error.empty() || error.starts_with("[config] c.yaml")) << error;
  }
  const RngStream stream(1, 0, "flips");
  int n_errors = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = text;
    for (int flip = 0; flip <= round % 3; ++flip)
      damaged[stream.below(text.size(), round, 2 * flip)] =
          static_cast<char>(stream.bits(round, 2 * flip + 1));
    const std::string error = Settings().read(damaged);
    ASSERT_TRUE(error.empty() || error.starts_with("[config] c.yaml")) << error;
    ASSERT_EQ(error.find('\n'), std::string::npos);
    n_errors += error.empty() ? 0 : 1;
  }
  EXPECT_GT(n_errors, 1000);
}

}  // namespace
}  // namespace moe
