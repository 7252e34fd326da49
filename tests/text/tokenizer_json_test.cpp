// SPDX-License-Identifier: MIT
// tokenizer.json against Hugging Face `tokenizers`: tests/golden/tokenizers holds our two files and
// the ids which that library reads out of them (tools/check_tokenizer_json.py --write). And hostile
// files.
#include "moe/text/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/text/tokenizer_files.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

const std::string kGolden = MOE_GOLDEN_DIR "/tokenizers/";
// Control characters, blanks that regexes treat apart, both planes, what JSON and ByteLevel spell
// in their own way.
const std::string kCharText =
    "\0\x01\t\n\r \"/\\09AZaz\x7F\xC2\x80\xC2\xA0\xC2\xADé\xE2\x80\xA8漢\xEF\xBF\xBD😀"s;

std::string read_error(std::string_view text) {
  try {
    tokenizer_from_json(text, "[tokenizer.json] x");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string small_char_json() {
  return tokenizer_to_json(*make_char_tokenizer({U'a', U'b', U'\n'}));
}

TEST(TokenizerJson, WritesTheFilesThatTheLibraryWasAskedAbout) {
  EXPECT_EQ(tokenizer_to_json(*make_byte_tokenizer()), read_file(kGolden + "byte.json"));
  EXPECT_EQ(tokenizer_to_json(*make_char_tokenizer(distinct_code_points(kCharText))),
            read_file(kGolden + "char.json"));
}

TEST(TokenizerJson, GivesTheIdsOfTheLibrary) {
  const Json golden = read_json(kGolden + "ids.json", "[golden]");
  for (const char* kind : {"byte", "char"}) {
    const auto tokenizer = read_tokenizer(kGolden + kind + ".json");
    const JsonArray& cases = golden.at(kind).as_array();
    EXPECT_GE(cases.size(), 10u);
    for (const Json& item : cases) {
      std::vector<TokenId> want;
      for (const Json& id : item.at("ids").as_array())
        want.push_back(static_cast<TokenId>(id.as_int64()));
      EXPECT_EQ(
          tokenizer->encode(std::string_view(item.at("text").as_string()), SpecialTokens::parse),
          want)
          << kind << ": " << item.at("text");
      EXPECT_EQ(tokenizer->decode(want), std::string_view(item.at("decoded").as_string()));
    }
  }
}

TEST(TokenizerJson, ReadsBackBothKinds) {
  const auto byte = tokenizer_from_json(tokenizer_to_json(*make_byte_tokenizer()), "x");
  EXPECT_EQ(byte->kind(), "byte");
  EXPECT_EQ(byte->encode("é<|endoftext|>", SpecialTokens::parse),
            (std::vector<TokenId>{0xC3, 0xA9, 256}));
  EXPECT_EQ(byte->encode("<|endoftext|>").size(), 13u);
  const auto original =
      make_char_tokenizer({U'z', U'\0', U'é', U'😀'});  // ids in the order of the file, not sorted
  const auto copy = tokenizer_from_json(tokenizer_to_json(*original), "x");
  EXPECT_EQ(copy->kind(), "char");
  EXPECT_EQ(copy->encode("😀éz"), (std::vector<TokenId>{3, 2, 0}));
}

TEST(TokenizerJson, ReadsACompactFileWithItsKeysInAnyOrder) {
  const Json json = parse_json(small_char_json(), "x");
  JsonObject reversed;
  for (auto it = json.as_object().end(); it != json.as_object().begin();) {
    --it;
    reversed[it->key()] = it->value();
  }
  EXPECT_EQ(tokenizer_from_json(to_json_line(reversed), "x")->vocab_size(), 3);
}

TEST(TokenizerJson, NamesAPartThatItDoesNotKnow) {
  EXPECT_THAT(read_error(R"({"a": 1})"), HasSubstr("no 'model'"));
  EXPECT_THAT(read_error("[1]"), HasSubstr("not a JSON object"));
  const std::string byte = tokenizer_to_json(*make_byte_tokenizer());
  EXPECT_THAT(read_error(replaced(byte, "\"BPE\"", "\"WordCount\"")),
              HasSubstr("a model of type 'WordCount'"));
  EXPECT_THAT(
      read_error(replaced(byte, "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFX\"}")),
      HasSubstr("a normalizer of type 'NFX'"));
  EXPECT_THAT(read_error(replaced(byte, "\"pre_tokenizer\": {\n    \"type\": \"ByteLevel\"",
                                  "\"pre_tokenizer\": {\n    \"type\": \"BitLevel\"")),
              HasSubstr("a pre-tokenizer of type 'BitLevel'"));
  EXPECT_THAT(read_error(replaced(byte, "\"post_processor\": null",
                                  "\"post_processor\": {\"type\": \"Nothing\"}")),
              HasSubstr("a post-processor of type 'Nothing'"));
  EXPECT_THAT(read_error(replaced(small_char_json(), "\"Fuse\"", "\"Fuze\"")),
              HasSubstr("a decoder of type 'Fuze'"));
  EXPECT_THAT(read_error(replaced(byte, "\"dropout\": null", "\"dropout\": 0.1")),
              HasSubstr("dropout"));
}

// With one step changed it is another tokenizer, which keeps that step.
TEST(TokenizerJson, AChangedStepActs) {
  const std::string byte = tokenizer_to_json(*make_byte_tokenizer());
  const auto spaced = tokenizer_from_json(
      replaced(byte, "\"add_prefix_space\": false", "\"add_prefix_space\": true"), "x");
  EXPECT_EQ(spaced->kind(), "BPE");
  EXPECT_EQ(spaced->encode("ab"), (std::vector<TokenId>{' ', 'a', 'b'}));
  const auto composed = tokenizer_from_json(
      replaced(byte, "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}"), "x");
  EXPECT_EQ(composed->encode("e\u0301"), (std::vector<TokenId>{0xC3, 0xA9}));
  EXPECT_EQ(
      tokenizer_from_json(replaced(small_char_json(), "Isolated", "Removed"), "x")->encode("ab"),
      std::vector<TokenId>{});
}

TEST(TokenizerJson, RefusesMergesOfUnknownTokens) {
  const auto with_merges = [](const std::string& merges) {
    return read_error(
        R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": )" + merges +
        "}}");
  };
  EXPECT_EQ(with_merges(R"(["a b"])"), "no error");
  EXPECT_EQ(with_merges(R"([["a", "b"]])"), "no error");
  EXPECT_THAT(with_merges(R"(["a c"])"), HasSubstr("needs the token 'c'"));
  EXPECT_THAT(with_merges(R"(["b a"])"), HasSubstr("needs the token 'ba'"));
  EXPECT_THAT(with_merges(R"(["ab"])"), HasSubstr("is not two tokens"));
  EXPECT_THAT(with_merges(R"([["a"]])"), HasSubstr("is not two tokens"));
  EXPECT_THAT(with_merges(R"([1])"), HasSubstr("is not two tokens"));
}

// The rules of SentencePiece in keys of our own; a right half that adds nothing must not cut for
// ever.
TEST(TokenizerJson, ReadsUnusedTokensAndTheirHalves) {
  const auto model = [](const std::string& more) {
    return R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3, "##": 4, "##b": 5},
      "merges": [["a", "b"], ["ab", "b"]])" +
           more + "}}";
  };
  const auto ids = [&](const std::string& more, const std::string& text) {
    return tokenizer_from_json(model(more), "x")->encode(text);
  };
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(ids("", "ab"), (Ids{2}));
  EXPECT_EQ(ids(R"(, "unused": [2])", "ab"), (Ids{0, 1}));
  EXPECT_EQ(ids(R"(, "unused": [2])", "abb"), (Ids{3}));
  EXPECT_EQ(ids(R"(, "unused": [2, 3])", "aabbab"), (Ids{0, 0, 1, 1, 0, 1}));
  EXPECT_EQ(ids(R"(, "unused": [1])", "b"), Ids{});  // there is no unknown token
  EXPECT_EQ(ids(R"(, "user_defined": [2])", "abb"), (Ids{2, 1}));
  const std::string long_text(1000, 'a');  // as many symbols as the other way of merging takes
  EXPECT_EQ(ids(R"(, "unused": [2])", long_text + "b").size(), 1001u);
  for (const char* bad :
       {R"(, "unused": [6])", R"(, "unused": [-1])", R"(, "unused": ["a"])", R"(, "unused": 1)",
        R"(, "user_defined": [1e30])", R"(, "ranks": [0])", R"(, "ranks": [0, 2])"})
    EXPECT_THAT(read_error(model(bad)), HasSubstr("model")) << bad;
  const std::string prefixed = R"({"model": {"type": "BPE", "continuing_subword_prefix": "##",
      "vocab": {"a": 0, "##": 1, "##b": 2}, "merges": [["a", "##"]], "unused": [0]}})";
  EXPECT_LE(tokenizer_from_json(prefixed, "x")->encode("a").size(), 1u);
}

// A file of some bytes must not make a table of gigabytes.
TEST(TokenizerJson, RefusesIdsFarBeyondItsEntries) {
  const std::string model =
      R"("model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "x"})";
  EXPECT_THAT(read_error(R"({"model": {"type": "WordLevel", "vocab": {"a": 2147483000}}})"),
              HasSubstr("has id 2147483000"));
  EXPECT_THAT(
      read_error(R"({"added_tokens": [{"id": 2147483000, "content": "b"}], )" + model + "}"),
      HasSubstr("has id 2147483000"));
  EXPECT_THAT(read_error(R"({"added_tokens": [{"id": 0, "content": "b"}], )" + model + "}"),
              HasSubstr("'a' and 'b' have the same id 0"));
}

TEST(TokenizerJson, RefusesIdsOutOfRangeRepeatedOrMissing) {
  const std::string json = small_char_json();
  EXPECT_THAT(read_error(replaced(json, "\"b\": 1", "\"b\": -1")), HasSubstr("has id -1"));
  EXPECT_THAT(read_error(replaced(json, "\"b\": 1", "\"b\": 2")), HasSubstr("have the same id 2"));
  EXPECT_THAT(read_error(replaced(json, "\"b\": 1", "\"b\": 9223372036854775807")),
              HasSubstr("has id"));
  EXPECT_THAT(read_error(replaced(json, "\"b\": 1", "\"b\": 1.5")), HasSubstr("no whole number"));
  EXPECT_THAT(read_error(replaced(json, "\"b\": 1", "\"a\": 1")),
              Not(HasSubstr("no error")));  // a repeated key
  EXPECT_NE(
      read_error(replaced(tokenizer_to_json(*make_byte_tokenizer()), "\"a\": 97", "\"a\": 98")),
      "no error");
}

// A damaged file is refused, or is another valid tokenizer (a flipped letter in a key): never
// anything else.
void expect_refused_or_whole(const std::string& damaged) {
  try {
    const auto tokenizer = tokenizer_from_json(damaged, "x");
    EXPECT_EQ(tokenizer_to_json(*tokenizer_from_json(tokenizer_to_json(*tokenizer), "x")),
              tokenizer_to_json(*tokenizer));
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos)
        << "more than one line: " << error.what();
  }
}

TEST(TokenizerJson, RefusesEveryTruncation) {
  for (const std::string& json : {small_char_json(), tokenizer_to_json(*make_byte_tokenizer())}) {
    const size_t last_brace = json.rfind('}');
    for (size_t size = 0; size <= last_brace; ++size)
      ASSERT_THROW(tokenizer_from_json(std::string_view(json).substr(0, size), "x"), Error) << size;
  }
}

TEST(TokenizerJson, SurvivesEveryByteFlipOfASmallFile) {
  const std::string json = small_char_json();
  for (size_t at = 0; at < json.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = json;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      expect_refused_or_whole(damaged);
    }
  }
}

TEST(TokenizerJson, RefusesDeepNestingAndAnEmptyFile) {
  EXPECT_NE(read_error(""), "no error");
  EXPECT_NE(read_error(std::string(100000, '[')), "no error");
  EXPECT_NE(read_error("{\"model\": " + std::string(100000, '[')), "no error");
}

// A pipe would wait for a writer, a device might never end.
TEST(TokenizerJson, RefusesWhatIsNoRegularFile) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "tokenizer.json").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { read_tokenizer(folder / "tokenizer.json"); }),
              HasSubstr("is not a regular file"));
  EXPECT_THAT(error_of([] { read_tokenizer("/dev/zero"); }), HasSubstr("is not a regular file"));
  ASSERT_EQ(::unlink((folder / "tokenizer.json").c_str()), 0);
  EXPECT_THAT(error_of([&] { read_tokenizer(folder.path()); }),
              HasSubstr("no tokenizer.json, tekken.json"));
}

// What a configuration says of the ends of a text wins over the usual names, also that there is
// none.
TEST(TokenizerJson, AConfigurationMayTakeAnEndAway) {
  const TempFolder folder;
  write_file_atomic(
      real_fs(), folder / "tokenizer.json",
      R"({"added_tokens": [{"id": 1, "content": "</s>", "special": true}, {"id": 2, "content": "<s>", "special": true}],
                        "model": {"type": "WordLevel", "vocab": {"a": 0, "</s>": 1, "<s>": 2}, "unk_token": "a"}})");
  EXPECT_EQ(read_tokenizer(folder.path())->eos_id(), 1);
  EXPECT_EQ(read_tokenizer(folder.path())->bos_id(), 2);
  write_file_atomic(real_fs(), folder / "tokenizer_config.json",
                    R"({"bos_token": null, "eos_token": {"content": "a"}})");
  EXPECT_EQ(read_tokenizer(folder.path())->eos_id(), 0);
  EXPECT_EQ(read_tokenizer(folder.path())->bos_id(), std::nullopt);
}

// A pattern's name that is none must not be taken for an expression, which would cut next to
// nothing.
TEST(TokenizerJson, ATiktokenFileWantsAPatternThatThereIs) {
  EXPECT_THAT(error_of([] { read_tiktoken("IQ== 0\n", "gpt3", "x"); }),
              HasSubstr("Did you mean gpt2?"));
  EXPECT_THAT(error_of([] { read_tiktoken("IQ== 0\n", "", "x"); }), HasSubstr("--pattern"));
  EXPECT_EQ(read_tiktoken("IQ== 0\n", "[a-z]+", "x").model.vocab.size(), 1u);
}

TEST(TokenizerJson, NamesAMissingFile) {
  try {
    read_tokenizer("/nonexistent/tokenizer.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/nonexistent/tokenizer.json"));
  }
}

}  // namespace
}  // namespace moe
