// SPDX-License-Identifier: MIT
// Prepared shards give the windows that the files themselves give, or nothing at all.
#include "moe/data/prepare.h"

#include <algorithm>
#include <cerrno>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "moe/base/faulty_fs.h"
#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/data/chat_dataset.h"
#include "moe/data/dataset.h"
#include "moe/data/record_spool.h"
#include "moe/data/record_stream.h"
#include "moe/text/tokenizer_json.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

std::string words(int64_t n, uint64_t seed) {
  const RngStream draws(seed, 0, "words");
  std::string text;
  for (int64_t i = 0; i < n; ++i) {
    for (uint64_t k = 0; k <= draws.below(6, i, 0); ++k)
      text += char('a' + draws.below(26, i, int64_t(k) + 2));
    text += draws.below(9, i, 1) == 0 ? ".\n" : draws.below(40, i, 1) == 1 ? " größe 你好 " : " ";
  }
  return text;
}

std::string text_records(int n) {
  std::string out;
  for (int i = 0; i < n; ++i)
    out += to_json_line(JsonObject{{"text", words(3 + i % 17, uint64_t(i / 2))}}) + "\n";  // copies
  return out;
}

std::string chat_records(int n) {
  std::string out;
  for (int i = 0; i < n; ++i) {
    JsonArray messages;
    for (int turn = 0; turn <= i % 3; ++turn) {
      messages.push_back(JsonObject{{"role", "user"}, {"content", words(2, uint64_t(i))}});
      messages.push_back(
          JsonObject{{"role", "assistant"}, {"content", words(1 + i % 5, uint64_t(turn))}});
    }
    out += to_json_line(JsonObject{{"messages", messages}}) + "\n";
  }
  return out;
}

bool same(const Windows& a, const Windows& b) {
  if (a.count() != b.count()) return false;
  for (int64_t w = 0; w < a.count(); ++w) {
    Batch x = empty_batch(), y = empty_batch();
    a.append(w, 5, x);
    b.append(w, 5, y);
    if (x.token_ids_T != y.token_ids_T || x.targets_T != y.targets_T ||
        x.positions_T != y.positions_T || x.sequence_starts_B1 != y.sequence_starts_B1 ||
        x.token_index_T != y.token_index_T || x.n_targets != y.n_targets ||
        a.n_targets(w) != b.n_targets(w) || a.n_targets(w) != x.n_targets)
      return false;
  }
  return true;
}

void expect_same(const Dataset& direct, const Dataset& shards) {
  EXPECT_TRUE(same(*direct.train, *shards.train));
  ASSERT_EQ(direct.validation == nullptr, shards.validation == nullptr);
  if (direct.validation) {
    EXPECT_TRUE(same(*direct.validation, *shards.validation));
  }
  EXPECT_EQ(direct.vocab_size, shards.vocab_size);
}

class Prepare : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) {
    const std::string path = folder_ / name;
    make_directories(real_fs(), parent_path(path));
    write_file_atomic(real_fs(), path, content);
    return path;
  }
  /// Texts of `path` directly and from shards.
  void compare_texts(const std::string& path, DataConfig config,
                     const std::vector<std::string>& packings = {"stream", "best_fit", "sequential",
                                                                 "none"}) {
    config.path = path;
    PrepareOptions options{.inputs = {path}, .out = folder_ / "shards", .data = config, .seed = 3};
    options.max_shard_bytes = max_shard_bytes_;
    remove_all(real_fs(), options.out);
    prepare_data(real_fs(), options);
    DataConfig from_shards = config;
    from_shards.path = options.out;
    if (config.tokenizer == "char") from_shards.tokenizer = "char";
    for (const std::string& packing : packings) {
      config.packing = from_shards.packing = packing;
      expect_same(open_dataset(config, 3), open_dataset(from_shards, 3));
    }
  }
  std::string error_with(const DataConfig& config) {
    return error_of([&] { open_dataset(config, 1); });
  }

  const TempFolder folder_;
  int64_t max_shard_bytes_ = 16 << 10;  // many shards
};

DataConfig config_of(const std::string& tokenizer, double val_fraction, int64_t seq_len = 16) {
  DataConfig config;
  config.tokenizer = tokenizer;
  config.val_fraction = val_fraction;
  config.seq_len = seq_len;
  return config;
}

TEST_F(Prepare, OneTextIsCutWhereTheFileItselfIsCut) {
  const std::string path = write("a.txt", "\xEF\xBB\xBF" + words(9000, 1));
  for (const std::string tokenizer : {"byte", "char"})
    for (const double val : {0.0, 0.1, 0.37}) compare_texts(path, config_of(tokenizer, val));
}

TEST_F(Prepare, RecordsAreInTheSameOrderOnTheSameSide) {
  const std::string path = write("a.jsonl", text_records(300));
  for (const double val : {0.0, 0.1, 0.5}) compare_texts(path, config_of("byte", val));
  compare_texts(path, config_of("char", 0.1));
  compare_texts(write("one.jsonl", text_records(1)), config_of("byte", 0.3, 2));
  compare_texts(write("two.jsonl", text_records(2)), config_of("byte", 0.3, 2));  // copies
  compare_texts(write("c.csv", "text\n" + words(1, 1) + "\n\"" + words(30, 2) + "\"\n"),
                config_of("byte", 0.3, 2));
}

TEST_F(Prepare, AFolderOfTextsAndRecordsIsOneSetOfDocuments) {
  write("in/a.jsonl", text_records(20));
  write("in/b.txt", words(2000, 8));
  write("in/c.txt", words(900, 9));
  write("in/empty.txt", "");
  write("in/notes.md", "not read");
  compare_texts(folder_ / "in", config_of("byte", 0.2));
  compare_texts(folder_ / "in", config_of("char", 0.2));
}

TEST_F(Prepare, FillInTheMiddleIsDrawnAsTheRunDrawsIt) {
  const Json json = parse_json(tokenizer_to_json(*make_byte_tokenizer()), "test", 16);
  TokenizerSpec spec = tokenizer_spec_from_json(json, "test");
  for (const char* marker : {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}) {
    AddedToken token;
    token.id = TokenId(spec.vocab_size());
    token.content = marker;
    token.special = true;
    spec.added_tokens.push_back(token);
  }
  DataConfig config =
      config_of(write("fim/tokenizer.json", tokenizer_to_json(*make_tokenizer(spec, "test"))), 0.1);
  config.fim_rate = 0.5;
  compare_texts(write("a.jsonl", text_records(100)), config);
  compare_texts(write("a.txt", words(3000, 1)), config);
  config.fim_rate = 1;
  compare_texts(write("b.txt", words(3000, 2)), config);
  config.tokenizer = "byte";
  config.path = folder_ / "a.txt";
  EXPECT_THAT(error_of([&] {
                prepare_data(real_fs(),
                             {.inputs = {config.path}, .out = folder_ / "none", .data = config});
              }),
              HasSubstr("markers"));
  EXPECT_FALSE(exists(folder_ / "none"));
}

TEST_F(Prepare, ConversationsKeepTheirMasks) {
  const std::string path = write("a.jsonl", chat_records(120) + text_records(3));
  const auto tokenizer = std::shared_ptr<const Tokenizer>(make_byte_tokenizer());
  const ChatEncoder encoder(find_chat_template("chatml"), tokenizer);
  for (const std::string turns : {"every", "last"})
    for (const std::string loss_on : {"assistant", "all"})
      for (const int64_t seq_len : {60, 4000}) {
        DataConfig config = config_of("byte", 0.1, seq_len);
        config.path = path;
        config.turns = turns;
        config.loss_on = loss_on;
        PrepareOptions options{.inputs = {path}, .out = folder_ / "shards", .data = config};
        options.max_shard_bytes = max_shard_bytes_;
        if (seq_len == 4000) options.data.seq_len = 0;  // whole
        remove_all(real_fs(), options.out);
        prepare_data(real_fs(), options);
        DataConfig from_shards = config;
        from_shards.path = options.out;
        for (const std::string packing : {"auto", "sequential", "none"}) {
          config.packing = from_shards.packing = packing;
          expect_same(open_chat_dataset(config, encoder), open_chat_dataset(from_shards, encoder));
        }
        EXPECT_THAT(error_with(from_shards), HasSubstr("set stage=sft"));
        from_shards.turns = turns == "last" ? "every" : "last";
        EXPECT_THAT(error_of([&] { open_chat_dataset(from_shards, encoder); }),
                    HasSubstr("set it to that or prepare the data again"));
      }
  DataConfig from_shards = config_of("byte", 0.1, 100);
  from_shards.path = folder_ / "shards";
  from_shards.turns = "last";
  from_shards.loss_on = "all";
  const ChatEncoder other(find_chat_template("llama-3.1"), tokenizer);
  EXPECT_THAT(error_of([&] { open_chat_dataset(from_shards, other); }),
              HasSubstr("another chat template"));
}

std::vector<std::string> contents(const std::string& folder) {
  std::vector<std::string> out;
  for (const std::string& name : list_directory(folder))
    out.push_back(name + "\n" + read_file(join_path(folder, name)));
  return out;
}

TEST_F(Prepare, TheBytesDoNotDependOnThreads) {
  write("in/a.jsonl", text_records(300));
  std::string long_text;
  const std::string part = words(20'000, 5);
  for (size_t i = 0; long_text.size() < (5 << 20); ++i) long_text += str(i, " ") + part;
  write("in/b.txt", long_text);
  write("chats.jsonl", chat_records(200));
  for (const std::string input : {"in", "chats.jsonl", "in/b.txt"}) {
    std::vector<std::string> first;
    for (const int threads : {1, 2, 7}) {
      set_threads(threads);
      PrepareOptions options{.inputs = {folder_ / input}, .out = folder_ / "out"};
      options.data.seq_len = 0;
      options.max_shard_bytes = 1 << 20;
      prepare_data(real_fs(), options);
      const auto now = contents(options.out);
      if (first.empty()) first = now;
      EXPECT_TRUE(first == now) << input << " with " << threads << " threads";
      remove_all(real_fs(), options.out);
    }
  }
  set_threads(0);
  // Cut into parts and encoded, it is the text encoded as a whole.
  compare_texts(folder_ / "in/b.txt", config_of("byte", 0.1, 4096), {"stream"});
}

TEST_F(Prepare, AnotherTokenizerAndDamageAreRefusedInOneLine) {
  const std::string path = write("a.jsonl", text_records(50));
  PrepareOptions options{.inputs = {path}, .out = folder_ / "out", .data = config_of("char", 0.1)};
  prepare_data(real_fs(), options);
  DataConfig config = config_of("byte", 0.1);
  config.path = options.out;
  EXPECT_THAT(error_with(config),
              AllOf(HasSubstr("another tokenizer"), HasSubstr("tokenizer.json")));
  config.tokenizer = join_path(options.out, "tokenizer.json");
  EXPECT_EQ(error_with(config), "");
  config.fim_rate = 0.5;
  EXPECT_THAT(error_with(config), HasSubstr("--fim-rate 0"));
  config.fim_rate = 0;
  for (const std::string name : {"train-00000.shard", "validation-00000.shard", "shards.json"}) {
    const std::string file = join_path(options.out, name), good = read_file(file);
    std::string bad = good;
    bad[bad.size() / 2] = char(bad[bad.size() / 2] ^ 1);
    write_file_atomic(real_fs(), file, bad);
    EXPECT_THAT(error_with(config), HasSubstr(name)) << name;
    EXPECT_EQ(error_with(config).find('\n'), std::string::npos);
    write_file_atomic(real_fs(), file, good);
  }
  write_file_atomic(real_fs(), join_path(options.out, "train-00000.shard"),
                    read_file(join_path(options.out, "validation-00000.shard")));
  EXPECT_THAT(error_with(config), HasSubstr("is not the shard that shards.json"));
}

TEST_F(Prepare, WrongRecordsAndArguments) {
  const std::string path = write("a.jsonl", text_records(5) + "{\"text\": 5}\n" + text_records(9));
  PrepareOptions options{.inputs = {path}, .out = folder_ / "out"};
  EXPECT_THAT(error_of([&] { prepare_data(real_fs(), options); }),
              AllOf(HasSubstr("a.jsonl line 6"), HasSubstr("no text")));
  EXPECT_EQ(list_directory(folder_.path()), std::vector<std::string>{"a.jsonl"});
  options.data.on_error = "skip";
  EXPECT_EQ(prepare_data(real_fs(), options).n_bad, 1);
  EXPECT_THAT(error_of([&] { prepare_data(real_fs(), options); }), HasSubstr("already holds"));
  options.out = folder_ / "empty/";
  make_directories(real_fs(), options.out);
  EXPECT_EQ(error_of([&] { prepare_data(real_fs(), options); }), "");
  options.out = folder_ / "x";
  const auto refused = [&](const std::string& name, const std::string& content) {
    options.inputs = {write(name, content)};
    const std::string why = error_of([&] { prepare_data(real_fs(), options); });
    EXPECT_FALSE(exists(options.out)) << why;
    return why;
  };
  EXPECT_THAT(refused("empty.txt", ""), HasSubstr("the file is empty"));
  EXPECT_THAT(refused("empty.jsonl", ""), HasSubstr("the file is empty"));
  EXPECT_THAT(refused("blank.jsonl", "\n\n"), HasSubstr("holds no record"));
  EXPECT_THAT(refused("latin1.txt", "a\nb caf\xE9 x"), HasSubstr("byte 7 (line 2) is not UTF-8"));
  EXPECT_THAT(refused("nul.txt", std::string("a\0b", 3)), HasSubstr("is NUL"));
  options.stage = "pretrain";
  EXPECT_THAT(refused("chats.jsonl", chat_records(3)), HasSubstr("--stage sft"));
  options.inputs = {folder_ / "none"};
  EXPECT_THAT(error_of([&] { prepare_data(real_fs(), options); }), HasSubstr("no such file"));
}

TEST_F(Prepare, AFailingDiskOrACrashLeavesNothingOrAll) {
  const TempFolder disk;
  const std::string path = write("a.jsonl", chat_records(30));
  const auto prepare = [&](FaultyFs& fs) {
    PrepareOptions options{.inputs = {path}, .out = disk / "out"};
    options.data.seq_len = 0;
    options.max_shard_bytes = 8 << 10;
    prepare_data(fs, options);
  };
  int64_t n_calls = 0;
  {
    FaultyFs fs(disk.path());
    prepare(fs);
    n_calls = fs.n_calls();
    remove_all(real_fs(), disk / "out");
  }
  for (int64_t call = 1; call <= n_calls; ++call)
    for (const bool crash : {false, true}) {
      FaultyFs fs(disk.path());
      crash ? fs.crash_at(call) : fs.fail_at(call, ENOSPC);
      try {
        prepare(fs);
      } catch (const Error&) {
        // All but the last call: the folder is in place when only its parent's sync fails.
        if (call < n_calls) {
          EXPECT_TRUE(list_directory(disk.path()).empty()) << call;
        }
      } catch (const SimulatedCrash&) {
      }
      if (exists(disk / "out")) {
        DataConfig config = config_of("byte", 0.1, 4000);
        config.path = disk / "out";
        const ChatEncoder encoder(find_chat_template("chatml"),
                                  std::shared_ptr<const Tokenizer>(make_byte_tokenizer()));
        open_chat_dataset(config, encoder);  // whole
      }
      for (const std::string& name : list_directory(disk.path()))
        remove_all(real_fs(), disk / name);
    }
}

TEST_F(Prepare, AnInterruptLeavesNothing) {
  PrepareOptions options{.inputs = {write("a.jsonl", text_records(50))}, .out = folder_ / "out"};
  int n = 0;
  options.stop_requested = [&] { return ++n > 2; };
  try {
    prepare_data(real_fs(), options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::interrupted);
  }
  EXPECT_EQ(list_directory(folder_.path()), std::vector<std::string>{"a.jsonl"});
}

// ---- its parts --------------------------------------------------------------------------

TEST(RecordSpool, SortsByHashAndKeepsTheOrderOfCopiesOnDiskAsInMemory) {
  for (const uint64_t memory : {0, 1000, 1 << 20}) {
    const TempFolder folder;
    RecordSpool spool(real_fs(), folder.path(), memory);
    const RngStream draws(1, 0, "test");
    std::vector<std::pair<uint64_t, int64_t>> want;
    for (int64_t i = 0; i < 500; ++i) {
      const uint64_t hash = draws.bits(i / 2, 0);
      spool.add({hash, 1, 2, i, std::string(size_t(i % 7), 'x')});
      want.emplace_back(hash, i);
    }
    std::sort(want.begin(), want.end());
    std::vector<std::pair<uint64_t, int64_t>> got;
    spool.for_each_part([&](std::span<const RecordSpool::Entry> entries) {
      for (const auto& e : entries) {
        got.emplace_back(e.hash, e.line);
        EXPECT_EQ(e.payload, std::string(size_t(e.line % 7), 'x'));
        EXPECT_EQ(e.kind + e.file, 3u);
      }
    });
    EXPECT_EQ(got, want);
    EXPECT_EQ(spool.largest_hash(), want.back().first);
    EXPECT_TRUE(list_directory(folder.path()).empty());
  }
}

TEST(TextReader, PiecesAreTheWholeTextOfEveryKindOfFile) {
  const TempFolder folder;
  std::string text;
  while (text.size() < (1 << 20)) text += words(1000, text.size()) + "\xF0\x9F\x98\x80";
  write_file_atomic(real_fs(), folder / "a.txt", "\xEF\xBB\xBF" + text);
  // Two members one after another.
  for (const auto& [part, mode] :
       {std::pair{text.substr(0, 300'001), "wb"}, std::pair{text.substr(300'001), "ab"}}) {
    const gzFile gz = gzopen((folder / "a.gz").c_str(), mode);
    ASSERT_EQ(gzwrite(gz, part.data(), unsigned(part.size())), int(part.size()));
    gzclose(gz);
  }
  for (const std::string name : {"a.txt", "a.gz"}) {
    TextReader reader(folder / name);
    std::string got;
    while (reader.read(got)) {
      EXPECT_EQ(first_invalid_utf8(got), std::string::npos);  // never half a character
    }
    EXPECT_TRUE(got == text) << name;
  }
  const std::string cut = read_file(folder / "a.gz").substr(0, 5000);
  write_file_atomic(real_fs(), folder / "cut.gz", cut);
  EXPECT_THAT(error_of([&] {
                TextReader reader(folder / "cut.gz");
                std::string got;
                while (reader.read(got)) {
                }
              }),
              HasSubstr("ends too early"));
}

TEST(StreamRecords, ReadWhatReadRecordsReads) {
  const TempFolder folder;
  const std::string lines = text_records(200) + "\n{\"text\": 1}\r\n\n" + chat_records(3);
  for (const std::string name : {"a.jsonl", "b.json"}) {
    write_file_atomic(real_fs(), folder / name, lines);
    const RecordFile want = read_records(folder / name, OnError::skip);
    std::vector<Record> got;
    const RecordCounts counts = stream_records(folder / name, OnError::skip, [&](Record&& r) {
      got.push_back(std::move(r));
      return true;
    });
    ASSERT_EQ(got.size(), want.records.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].text, want.records[i].text);
      EXPECT_EQ(got[i].messages, want.records[i].messages);
      EXPECT_EQ(got[i].line, want.records[i].line);
    }
    EXPECT_EQ(counts.n_bad, want.n_bad);
    EXPECT_EQ(counts.bad, want.bad);
    EXPECT_EQ(counts.form, want.form);
    EXPECT_EQ(error_of([&] { read_records(folder / name, OnError::stop); }), error_of([&] {
                stream_records(folder / name, OnError::stop, [](Record&&) { return true; });
              }));
  }
}

}  // namespace
}  // namespace moe
