// SPDX-License-Identifier: MIT
// Every kind of data.path: what comes out of it, and what is refused with which words.
#include "moe/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/data/loader.h"
#include "moe/data/text_files.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

// A folder of its own, removed at the end.
class DatasetFiles : public ::testing::Test {
 protected:
  DatasetFiles()
      : folder_(join_path(
            ::testing::TempDir(),
            str("moe_dataset_", ::testing::UnitTest::GetInstance()->current_test_info()->name()))) {
    remove_all(real_fs(), folder_);
    make_directories(real_fs(), folder_);
  }
  ~DatasetFiles() override { remove_all(real_fs(), folder_); }

  std::string write(const std::string& name, std::string_view content) {
    const std::string path = join_path(folder_, name);
    make_directories(real_fs(), parent_path(path));
    write_file_atomic(real_fs(), path, content);
    return path;
  }
  template <class T>
  std::string write_ids(const std::string& name, const std::vector<T>& ids,
                        const std::string& header = "") {
    return write(name, header + std::string(reinterpret_cast<const char*>(ids.data()),
                                            ids.size() * sizeof(T)));
  }
  // A .npy header of version 1.0, padded to 128 bytes (numpy.lib.format).
  static std::string npy_header(const std::string& descr, const std::string& shape) {
    std::string dict =
        str("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, ", }");
    dict.resize(117, ' ');
    return std::string("\x93NUMPY\x01\x00", 8) + std::string("\x76\x00", 2) + dict + "\n";
  }

  std::string folder_;
};

DataConfig config_for(const std::string& path, int64_t seq_len = 4, double val_fraction = 0) {
  DataConfig config;
  config.path = path;
  config.seq_len = seq_len;
  config.val_fraction = val_fraction;
  return config;
}

std::string error_of(const DataConfig& config) {
  try {
    open_dataset(config, 1);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// All ids that the windows read, as text.
std::string text_of(const Windows& windows, const Tokenizer& tokenizer) {
  std::string out;
  for (int64_t w = 0; w < windows.count(); ++w) {
    Batch batch = empty_batch();
    windows.append(w, 0, batch);
    out += tokenizer.decode(batch.token_ids_T);
  }
  return out;
}

// ---- text -------------------------------------------------------------------------------

TEST_F(DatasetFiles, ATextFileIsCutIntoItsFirstAndLastCharacters) {
  DataConfig config = config_for(write("a.txt", "aäbäcädäeäAÄBÄCÄDÄEÄ"), 1, 0.5);
  const Dataset data = open_dataset(config, 1);
  EXPECT_EQ(data.n_train_tokens, 15);
  EXPECT_EQ(text_of(*data.train, *data.tokenizer),
            "aäbäcädäe\xC3");  // the last byte is only a target
  EXPECT_EQ(text_of(*data.validation, *data.tokenizer), "AÄBÄCÄDÄE\xC3");
  config.val_fraction = 0;
  EXPECT_EQ(open_dataset(config, 1).validation, nullptr);
  EXPECT_EQ(open_dataset(config, 1).n_train_tokens, 30);
}

TEST_F(DatasetFiles, TheSplitOfTinyShakespeareIsNanoGptsSplit) {
  // 1,115,394 characters: 1,003,854 for training and 111,540 for validation (nanoGPT's prepare.py).
  const TextSplit split = read_text_files(write("a.txt", std::string(1'115'394, 'x')), 0.1);
  EXPECT_EQ(split.train[0].size(), 1'003'854u);
  EXPECT_EQ(split.validation[0].size(), 111'540u);
}

TEST_F(DatasetFiles, AFolderIsSplitByWholeFiles) {
  std::set<std::string> all;
  for (char c = 'a'; c < 'k'; ++c) {
    all.insert(std::string(5, c));
    write(str("docs/", c, ".txt"), std::string(5, c));
  }
  write("docs/notes.md", "\xFF not text, and not read");
  write("docs/below/x.txt", "not read either");
  write("docs/empty.txt", "");
  const TextSplit split = read_text_files(join_path(folder_, "docs"), 0.3);
  EXPECT_EQ(split.train.size(), 7u);
  EXPECT_EQ(split.validation.size(), 3u);
  std::set<std::string> seen(split.train.begin(), split.train.end());
  seen.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(seen, all);  // ten different documents in ten places: the parts share none
}

TEST_F(DatasetFiles, TheDocumentsOfAFolderEndWithTheEndOfTextId) {
  write("docs/a.txt", "aaa");
  write("docs/b.txt", "bbb");
  const Dataset data = open_dataset(config_for(join_path(folder_, "docs"), 7), 1);
  EXPECT_EQ(data.n_train_tokens, 8);
  Batch batch = empty_batch();
  data.train->append(0, 0, batch);
  EXPECT_EQ(batch.token_ids_T[3], 256);
  EXPECT_EQ(batch.targets_T[6], 256);
}

TEST_F(DatasetFiles, ASmallShareOfAFolderStillKeepsOneFileForValidation) {
  write("docs/a.txt", "aaa");
  write("docs/b.txt", "bbb");
  EXPECT_EQ(read_text_files(join_path(folder_, "docs"), 0.01).validation.size(), 1u);
  EXPECT_EQ(read_text_files(join_path(folder_, "docs"), 0.0).validation.size(), 0u);
}

TEST_F(DatasetFiles, ACharTokenizerKnowsTheCharactersOfBothParts) {
  DataConfig config = config_for(write("a.txt", "abababababababababxy"), 1, 0.2);
  config.tokenizer = "char";
  const Dataset data = open_dataset(config, 1);
  EXPECT_EQ(data.vocab_size, 4);
  EXPECT_EQ(text_of(*data.validation, *data.tokenizer), "abx");
}

TEST_F(DatasetFiles, ATokenizerFileIsUsedAndItsUnknownCharactersAreNamed) {
  write("tok/tokenizer.json", tokenizer_to_json(*make_char_tokenizer({U'b', U'a'})));
  DataConfig config = config_for(write("a.txt", "abababab"));
  config.tokenizer = join_path(folder_, "tok");
  EXPECT_EQ(open_dataset(config, 1).tokenizer->encode("ab"), (std::vector<TokenId>{1, 0}));
  config.path = write("b.txt", "ababaxab");
  EXPECT_THAT(error_of(config), AllOf(HasSubstr("b.txt"), HasSubstr("'x' (U+0078) at byte 5")));
  config.tokenizer = "bite";
  EXPECT_THAT(error_of(config), HasSubstr("'bite' is neither byte nor char"));
}

TEST_F(DatasetFiles, BadTextIsRefusedWithItsNameAndPlace) {
  EXPECT_THAT(error_of(config_for(folder_ + "/none.txt")),
              HasSubstr("none.txt: no such file or folder"));
  EXPECT_THAT(error_of(config_for(write("empty.txt", ""))),
              HasSubstr("empty.txt: the file is empty"));
  EXPECT_THAT(error_of(config_for(write("latin1.txt", "caf\xE9 au lait"))),
              HasSubstr("latin1.txt: byte 3 (line 1) is not UTF-8"));
  make_directories(real_fs(), folder_ + "/nothing");
  EXPECT_THAT(error_of(config_for(folder_ + "/nothing")), HasSubstr("holds no .txt, .jsonl"));
}

TEST_F(DatasetFiles, DataShorterThanAWindowSayHowManyTokensThereAre) {
  DataConfig config = config_for(write("a.txt", "0123456789"), 10);
  EXPECT_THAT(error_of(config), AllOf(HasSubstr("has 10 tokens"), HasSubstr("needs 11"),
                                      HasSubstr("data.seq_len=9")));
  config.seq_len = 9;
  EXPECT_EQ(open_dataset(config, 1).train->count(), 1);
  config.seq_len = 5;
  config.val_fraction = 0.2;
  EXPECT_THAT(error_of(config),
              AllOf(HasSubstr("validation part has 2 tokens"), HasSubstr("data.val_fraction=0")));
  config.drop_last = false;
  EXPECT_EQ(open_dataset(config, 1).validation->count(), 1);
}

// ---- token ids --------------------------------------------------------------------------

TEST_F(DatasetFiles, ABinFileIsReadAsTheTypeThatTheConfigNames) {
  std::vector<uint16_t> narrow(20);
  std::iota(narrow.begin(), narrow.end(), uint16_t{1000});
  DataConfig config = config_for(write_ids("a.bin", narrow), 4, 0.25);
  const Dataset data = open_dataset(config, 1);
  EXPECT_EQ(data.tokenizer, nullptr);
  EXPECT_EQ(data.vocab_size, 1020);
  EXPECT_EQ(data.n_train_tokens, 15);
  EXPECT_EQ(data.n_validation_tokens, 5);
  Batch batch = empty_batch();
  data.validation->append(0, 0, batch);
  EXPECT_EQ(batch.token_ids_T, (std::vector<int32_t>{1015, 1016, 1017, 1018}));
  config.token_dtype = "u32";
  config.path = write_ids("b.bin", std::vector<uint32_t>(20, 70'000));
  EXPECT_EQ(open_dataset(config, 1).vocab_size, 70'001);
}

TEST_F(DatasetFiles, IdsTooLargeForTheProgramAreRefused) {
  DataConfig config = config_for(write_ids("a.bin", std::vector<uint32_t>(20, 0xFFFFFFFF)));
  config.token_dtype = "u32";
  EXPECT_THAT(error_of(config), HasSubstr("largest id is 4294967295"));
}

TEST_F(DatasetFiles, SequencesAreSplitWholeAndNoWindowCrossesThem) {
  std::vector<uint16_t> ids(4 * 5);
  std::iota(ids.begin(), ids.end(), uint16_t{0});
  DataConfig config = config_for(write_ids("a.npy", ids, npy_header("<u2", "(4, 5)")), 4, 0.25);
  const Dataset data = open_dataset(config, 1);
  EXPECT_EQ(data.train->count(), 3);
  EXPECT_EQ(data.validation->count(), 1);
  Batch batch = empty_batch();
  data.train->append(1, 0, batch);
  data.validation->append(0, 0, batch);
  EXPECT_EQ(batch.token_ids_T, (std::vector<int32_t>{5, 6, 7, 8, 15, 16, 17, 18}));
  config.seq_len = 5;
  EXPECT_THAT(error_of(config),
              AllOf(HasSubstr("each sequence has 5 tokens"), HasSubstr("data.seq_len=4")));
}

TEST_F(DatasetFiles, OneSequenceCannotBeSplit) {
  DataConfig config = config_for(
      write_ids("a.npy", std::vector<uint16_t>(8), npy_header("<u2", "(1, 8)")), 4, 0.25);
  EXPECT_THAT(error_of(config), HasSubstr("data.val_fraction=0"));
}

TEST_F(DatasetFiles, DamagedTokenFilesAreRefusedInOneLine) {
  const std::string good = npy_header("<u2", "(2, 5)") + std::string(20, '\1');
  for (size_t size = 0; size < good.size(); ++size) {
    const std::string message = error_of(config_for(write("cut.npy", good.substr(0, size))));
    ASSERT_NE(message, "no error") << size;
    ASSERT_EQ(message.find('\n'), std::string::npos) << message;
  }
  EXPECT_NE(error_of(config_for(write("odd.bin", "abc"))), "no error");
  EXPECT_NE(error_of(config_for(write("empty.bin", ""))), "no error");
}

// ---- demo -------------------------------------------------------------------------------

TEST(DemoDataset, HasSubjectsAndAFixedValidationSetForEverySeed) {
  DataConfig config;
  const Dataset one = open_dataset(config, 1), two = open_dataset(config, 2);
  EXPECT_EQ(one.subject_names.size(), 5u);
  EXPECT_EQ(one.vocab_size, 257);
  EXPECT_EQ(one.n_train_tokens, 0);
  const auto a = validation_batches(*one.validation, 256, 16),
             b = validation_batches(*two.validation, 256, 16);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].token_ids_T, b[i].token_ids_T);
  Batch first = empty_batch(), second = empty_batch();
  one.train->append(0, 0, first);
  two.train->append(0, 0, second);
  EXPECT_NE(first.token_ids_T, second.token_ids_T);
  config.val_fraction = 0;
  EXPECT_EQ(open_dataset(config, 1).validation, nullptr);
}

TEST(DemoDataset, WorksWithACharTokenizer) {
  DataConfig config;
  config.tokenizer = "char";
  const Dataset data = open_dataset(config, 1);
  EXPECT_LT(data.vocab_size, 100);
  Batch batch = empty_batch();
  for (int64_t w = 0; w < 50; ++w) data.train->append(w, 0, batch);
  EXPECT_EQ(batch.n_tokens(), 50 * 256);
}

TEST(DataKeys, SetTheFieldsAndRefuseBadValues) {
  DataConfig config;
  ConfigTable table;
  add_data_keys(table, config);
  table.read_yaml(
      "data: {path: x.txt, tokenizer: char, seq_len: 64, stride: 3, val_fraction: 0, order: "
      "sequential, "
      "drop_last: false, token_dtype: u32}",
      "test");
  EXPECT_EQ(config.path, "x.txt");
  EXPECT_EQ(config.seq_len, 64);
  EXPECT_EQ(config.order, "sequential");
  EXPECT_FALSE(config.drop_last);
  EXPECT_THROW(table.set("data.order", "random"), Error);
  EXPECT_THROW(table.set("data.seq_len", "0"), Error);
  EXPECT_THROW(table.set("data.val_fraction", "1"), Error);
}

}  // namespace
}  // namespace moe
