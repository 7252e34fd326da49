// SPDX-License-Identifier: MIT
// Checkpoint folders on a disk that works: what is written, what is found, what damage is named.
// For disks that do not, see checkpoint_crash_test.cpp.
#include "moe/io/checkpoint.h"

#include <gmock/gmock.h>

#include "moe/io/checkpoint_name.h"
#include "moe/io/safetensors_folder.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

class Checkpoint : public testing::Test {
 protected:
  std::string save(int64_t step, int keep = 3) {
    CheckpointWriter writer(real_fs(), run_, step);
    writer.add_file("config.json", "{\"step\": " + str(step) + "}\n");
    writer.add_tensors("model",
                       {tensor_source("a", pattern_tensor({300, 1000}, DType::f32)),
                        tensor_source("b", pattern_tensor({300, 1000}, DType::f32))},
                       {{"format", "pt"}}, uint64_t(1) << 40);
    return writer.commit(keep);
  }
  std::string save_small(int64_t step, int keep = 3) {
    CheckpointWriter writer(real_fs(), run_, step);
    writer.add_file("config.json", "{}\n");
    writer.add_file("state.bin", std::string(100, char('a' + step % 26)));
    return writer.commit(keep);
  }
  std::vector<std::string> names() { return list_directory(run_ / "checkpoints"); }
  static void flip(const std::string& path, size_t at) {
    std::string content = read_file(path);
    content[at] ^= 1;
    put(path, content);
  }

  struct Run : TempFolder {
    operator std::string() const { return path(); }
  } run_;
};

TEST_F(Checkpoint, HoldsTheFilesAManifestAndIsTheLatest) {
  const std::string folder = save(123);
  EXPECT_EQ(folder, run_ / "checkpoints/ckpt-000123");
  EXPECT_EQ(list_directory(folder),
            (std::vector<std::string>{"config.json", "manifest.json", "model.safetensors"}));
  EXPECT_EQ(read_file(join_path(folder, "config.json")), "{\"step\": 123}\n");
  EXPECT_TRUE(
      same_bits(SafetensorsFolder(folder).tensor("b"), pattern_tensor({300, 1000}, DType::f32)));
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000123", "latest"}));
  EXPECT_EQ(read_file(run_ / "checkpoints/latest"), "ckpt-000123\n");
  EXPECT_TRUE(verify_checkpoint(folder).empty());
}

TEST_F(Checkpoint, MakesTheRunFolder) {
  CheckpointWriter writer(real_fs(), run_ / "runs/new", 1);
  writer.add_file("x", "1");
  writer.commit(1);
  EXPECT_EQ(newest_valid_checkpoint(run_ / "runs/new").step, 1);
}

TEST_F(Checkpoint, ManifestTextReadsBackTheSame) {
  const Manifest manifest = read_manifest(save(7));
  EXPECT_EQ(manifest.step, 7);
  ASSERT_EQ(manifest.files.size(), 2u);
  EXPECT_EQ(manifest.files[1].name, "model.safetensors");
  EXPECT_EQ(manifest.files[1].checksum.blocks_xxh3_64.size(), 3u);  // 2.4 MB
  const std::string text = manifest_text(manifest);
  EXPECT_EQ(manifest_text(parse_manifest(text, "[test]")), text);
}

TEST_F(Checkpoint, ChecksumsAreThoseOfXxHash) {
  // XXH3_128bits("") and XXH3_64bits(""), from the test vectors of xxHash 0.8.
  EXPECT_EQ(xxh3_128_hex({}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2u);
}

TEST_F(Checkpoint, HashWhileWritingEqualsTheHashOfTheFile) {
  const Tensor bytes = pattern_tensor({3, 1 << 20}, DType::u8);
  for (const size_t n :
       {size_t(0), size_t(1), size_t(1) << 20, (size_t(1) << 20) + 1, size_t(5) << 19}) {
    HashingFile file(real_fs(), run_ / "x");
    // Pieces of odd length, so that blocks end inside them.
    for (size_t at = 0; at < n; at += 99991)
      file.write({bytes.raw() + at, std::min<size_t>(99991, n - at)});
    const FileChecksum checksum = file.finish();
    EXPECT_EQ(checksum.bytes, n);
    EXPECT_EQ(checksum.xxh3_128, xxh3_128_hex({bytes.raw(), n}));
    EXPECT_EQ(checksum.blocks_xxh3_64.size(), (n + (1 << 20) - 1) >> 20);
    if (n >= 1 << 20) {
      EXPECT_EQ(checksum.blocks_xxh3_64[0], xxh3_64({bytes.raw(), size_t(1) << 20}));
    }
  }
}

TEST_F(Checkpoint, NamesHaveSixDigitsOrMore) {
  EXPECT_EQ(checkpoint_name(0), "ckpt-000000");
  EXPECT_EQ(checkpoint_name(12345678), "ckpt-12345678");
  EXPECT_EQ(parse_checkpoint_name("ckpt-000123")->step, 123);
  EXPECT_EQ(parse_checkpoint_name("ckpt-1000000")->step, 1000000);
  using Kind = CheckpointName::Kind;
  EXPECT_EQ(parse_checkpoint_name("ckpt-000123.tmp-ab")->kind, Kind::temporary);
  EXPECT_EQ(parse_checkpoint_name("ckpt-000123.old-ab")->kind, Kind::moved_aside);
  for (const char* name :
       {"ckpt-123", "ckpt-0000123", "ckpt-00012x", "ckpt--00012", "ckpt-", "latest",
        "ckpt-000123.bak", "ckpt-99999999999999999999", "xckpt-000123"})
    EXPECT_FALSE(parse_checkpoint_name(name)) << name;
}

TEST_F(Checkpoint, KeepsTheNewestAndRemovesOlderOnes) {
  for (const int step : {10, 20, 30, 40}) save_small(step, 2);
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000030", "ckpt-000040", "latest"}));
  save_small(50, 1);
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000050", "latest"}));
  CheckpointWriter writer(real_fs(), run_, 60);
  EXPECT_ERROR(writer.commit(0), "keep is 0");
}

TEST_F(Checkpoint, ADamagedFolderNeverDisplacesAWholeOne) {
  save_small(10);
  const std::string damaged = save_small(20);
  put(join_path(damaged, "state.bin"), "short");
  save_small(30, 2);
  EXPECT_EQ(names(),
            (std::vector<std::string>{"ckpt-000010", "ckpt-000020", "ckpt-000030", "latest"}));
  save_small(40, 2);
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000030", "ckpt-000040", "latest"}));
}

TEST_F(Checkpoint, PruningLeavesNewerStepsAlone) {
  save_small(30);
  save_small(20, 1);
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000020", "ckpt-000030", "latest"}));
}

TEST_F(Checkpoint, NewestValidIsFoundWithoutTheHint) {
  save_small(10);
  save_small(1000000);
  put(run_ / "checkpoints/latest", "ckpt-000010\n");
  EXPECT_EQ(newest_valid_checkpoint(run_).step, 1000000);
  EXPECT_EQ(newest_valid_checkpoint(run_).path, run_ / "checkpoints/ckpt-1000000");
  EXPECT_EQ(newest_valid_checkpoint(run_ / "none").path, "");
  EXPECT_TRUE(list_checkpoints(run_ / "none").empty());
}

TEST_F(Checkpoint, NewestValidSkipsDamagedOnesAndSaysWhy) {
  save_small(10);
  const std::string cut = save_small(20), flipped = save_small(30), no_manifest = save_small(40, 9);
  put(join_path(cut, "state.bin"), "short");
  flip(join_path(flipped, "state.bin"), 5);
  std::filesystem::remove(join_path(no_manifest, "manifest.json"));
  const NewestCheckpoint newest = newest_valid_checkpoint(run_);
  EXPECT_EQ(newest.step, 10);
  ASSERT_EQ(newest.skipped.size(), 3u);
  EXPECT_EQ(newest.skipped[0].path, no_manifest);
  EXPECT_NE(newest.skipped[0].reason.find("no manifest.json"), std::string::npos);
  EXPECT_NE(newest.skipped[1].reason.find("state.bin"), std::string::npos);
  EXPECT_NE(newest.skipped[2].reason.find("5 bytes, the manifest says 100"), std::string::npos);
}

TEST_F(Checkpoint, FilesThatDoNotMatterMayBeDamaged) {
  save_small(10);
  const std::string newest = save_small(20);
  flip(join_path(newest, "state.bin"), 99);
  const auto not_state = [](const std::string& name) { return name != "state.bin"; };
  EXPECT_EQ(newest_valid_checkpoint(run_).step, 10);
  EXPECT_EQ(newest_valid_checkpoint(run_, not_state).step, 20);
  flip(join_path(newest, "config.json"), 0);
  EXPECT_EQ(newest_valid_checkpoint(run_, not_state).step, 10);
}

TEST_F(Checkpoint, DamageNamesFileOffsetAndExactlyTheDamagedTensors) {
  const std::string folder = save(1);
  const std::string model = join_path(folder, "model.safetensors");
  const uint64_t begin_of_b = SafetensorsFile(model).at("b").offset;
  flip(model, begin_of_b);  // one block of 1 MiB holds the end of "a" and the begin of "b"
  auto problems = verify_checkpoint(folder);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].file, "model.safetensors");
  EXPECT_EQ(problems[0].offset, begin_of_b);
  EXPECT_EQ(problems[0].tensors, (std::vector<std::string>{"b"}));
  EXPECT_NE(problems[0].text().find("tensors: b"), std::string::npos) << problems[0].text();

  flip(model, begin_of_b - 1);
  EXPECT_EQ(verify_checkpoint(folder)[0].tensors, (std::vector<std::string>{"a", "b"}));
  flip(model, begin_of_b);
  EXPECT_EQ(verify_checkpoint(folder)[0].tensors, (std::vector<std::string>{"a"}));
  flip(model, begin_of_b - 1);
  EXPECT_TRUE(verify_checkpoint(folder).empty());

  std::filesystem::resize_file(model, 1'500'000);
  problems = verify_checkpoint(folder);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].offset, 1'500'000u);
  EXPECT_EQ(problems[0].tensors, (std::vector<std::string>{"b"}));

  std::filesystem::remove(model);
  problems = verify_checkpoint(folder);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].text().find("missing"), std::string::npos);
}

TEST_F(Checkpoint, ADamagedHeaderIsNamedAndNoTensorIsAccused) {
  const std::string folder = save(1), model = join_path(folder, "model.safetensors");
  const std::string good = read_file(model);
  for (const size_t at : {size_t(0), size_t(7), size_t(12), good.find("\"b\"") + 1}) {
    flip(model, at);
    const auto problems = verify_checkpoint(folder);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_NE(problems[0].reason.find("header is damaged"), std::string::npos)
        << problems[0].text();
    EXPECT_TRUE(problems[0].tensors.empty());
    put(model, good);
  }
}

TEST_F(Checkpoint, AManifestWithoutChecksumsOfTensorsStillVerifiesAndNamesWhatTouchesABlock) {
  const std::string folder = save(1), model = join_path(folder, "model.safetensors");
  Manifest manifest = read_manifest(folder);
  for (Manifest::File& file : manifest.files) file.checksum.parts.reset();
  put(join_path(folder, "manifest.json"), manifest_text(manifest));
  EXPECT_TRUE(verify_checkpoint(folder).empty());
  flip(model, 1'100'000);  // in the second block, where "a" ends and "b" begins
  const auto problems = verify_checkpoint(folder);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].offset, uint64_t(1) << 20);
  EXPECT_EQ(problems[0].tensors, (std::vector<std::string>{"a", "b"}));
}

TEST_F(Checkpoint, TensorsWithoutBytesAndFilesWithoutTensorsAreHashedToo) {
  CheckpointWriter writer(real_fs(), run_, 1);
  writer.add_tensors("none", {}, {}, 1 << 20);
  writer.add_tensors("model",
                     {tensor_source("empty", Tensor::empty({0, 4}, DType::f32)),
                      tensor_source("a", pattern_tensor({3, 5}, DType::f32))},
                     {}, 1 << 20);
  const std::string folder = writer.commit(1);
  EXPECT_EQ(read_manifest(folder).files[0].checksum.parts->tensors.size(), 0u);
  EXPECT_EQ(read_manifest(folder).files[1].checksum.parts->tensors.size(), 2u);
  EXPECT_TRUE(verify_checkpoint(folder).empty());
}

TEST_F(Checkpoint, AFolderRenamedToAnotherStepIsInvalid) {
  std::filesystem::rename(save_small(10), run_ / "checkpoints/ckpt-000011");
  EXPECT_EQ(newest_valid_checkpoint(run_).path, "");
}

TEST_F(Checkpoint, EveryTruncationOfEveryFileIsDetected) {
  const std::string folder = save_small(1);
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name), good = read_file(path);
    for_each_truncation(good, [&](const std::string& content) {
      put(path, content);
      EXPECT_FALSE(verify_checkpoint(folder).empty()) << name << " cut to " << content.size();
    });
    put(path, good);
  }
  EXPECT_TRUE(verify_checkpoint(folder).empty());
}

TEST_F(Checkpoint, EveryByteFlipOfEveryFileIsDetected) {
  const std::string folder = save_small(1);
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name), good = read_file(path);
    for_each_flip(good, 4000, [&](const std::string& content) {
      put(path, content);
      EXPECT_FALSE(verify_checkpoint(folder).empty()) << name;
    });
    put(path, good);
  }
  EXPECT_TRUE(verify_checkpoint(folder).empty());
}

TEST_F(Checkpoint, ManifestsOfOtherMakersAreRefused) {
  // Each is well-formed down to its own checksum.
  const auto error_of_body = [](const std::string& body) {
    const std::string text =
        body + ",\n  \"xxh3_128\": \"" + xxh3_128_hex(as_bytes(body)) + "\"\n}\n";
    return error_of([&] { parse_manifest(text, "[test]"); });
  };
  const auto error_of_file = [&](const std::string& file) {
    return error_of_body(
        R"({"format": "moe.cpp checkpoint manifest", "version": 1, "step": 1, "files": [)" + file +
        "]");
  };
  using testing::HasSubstr;
  EXPECT_THAT(error_of_body(R"({"version": 3)"), HasSubstr("version 3"));
  EXPECT_THAT(error_of_body(R"({"format": "x")"), HasSubstr("not a checkpoint"));
  EXPECT_THAT(error_of_body(R"({"step": 1)"), HasSubstr("'format' is missing"));
  EXPECT_THAT(error_of_body(R"({"step": 1, "step": 1)"), HasSubstr("'step' occurs twice"));
  EXPECT_THAT(error_of_body(R"({"step": 9223372036854775808)"), HasSubstr("63 bits"));
  EXPECT_THAT(error_of_body(R"({"steps": 1)"), HasSubstr("unknown key"));

  const std::string rest =
      R"(, "bytes": 0, "xxh3_128": ")" + std::string(32, '0') + R"(", "blocks_xxh3_64": []})";
  EXPECT_THAT(error_of_file(R"({"name": "../x")" + rest), HasSubstr("inside the folder"));
  EXPECT_THAT(error_of_file(R"({"name": "a/x")" + rest), HasSubstr("inside the folder"));
  EXPECT_THAT(error_of_file(R"({"name": "manifest.json")" + rest), HasSubstr("inside the folder"));
  EXPECT_THAT(error_of_file(R"({"name": "x")" + rest + R"(, {"name": "x")" + rest),
              HasSubstr("'x' occurs twice"));
  EXPECT_THAT(error_of_file(R"({"name": "x", "name": "y")"), HasSubstr("'name' occurs twice"));
  EXPECT_THAT(error_of_file(R"({"name": "x"})"), HasSubstr("'bytes' is missing"));
  EXPECT_THAT(error_of_file(R"({"size": 1})"), HasSubstr("unknown key"));
  EXPECT_THAT(error_of_file(R"({"name": "x", "header_xxh3_64": "0000000000000000")" + rest),
              HasSubstr("belong together"));
  EXPECT_THAT(error_of_file(R"({"name": "x", "blocks_xxh3_64": ["12"]})"),
              HasSubstr("16 hexadecimal digits"));
  EXPECT_THAT(error_of_file(R"({"name": "x", "bytes": 18446744073709551615, "xxh3_128": ")" +
                            std::string(32, '0') + R"(", "blocks_xxh3_64": []})"),
              HasSubstr("block checksums"));
}

TEST_F(Checkpoint, AHostileManifestCostsAtMostFourTimesItsSizeAndOneMebibyte) {
  std::string body =
      "{\n  \"format\": \"moe.cpp checkpoint manifest\",\n  \"version\": 1,\n  \"step\": 0,\n  "
      "\"files\": [";
  for (int i = 0; i < 50000; ++i)
    body += str(i ? "," : "", "{\"name\":\"", i, "\",\"bytes\":0,\"xxh3_128\":\"",
                std::string(32, '0'), "\",\"blocks_xxh3_64\":[]}");
  body += "]";
  const std::string text =
      body + ",\n  \"xxh3_128\": \"" + xxh3_128_hex(as_bytes(body)) + "\"\n}\n";
  std::filesystem::create_directories(run_ / "checkpoints/ckpt-000000");
  put(run_ / "checkpoints/ckpt-000000/manifest.json", text);
  EXPECT_LE(peak_memory_of([&] { verify_checkpoint(run_ / "checkpoints/ckpt-000000"); }),
            4 * int64_t(text.size()) + (1 << 20));
  EXPECT_EQ(verify_checkpoint(run_ / "checkpoints/ckpt-000000").size(), 64u);
}

TEST_F(Checkpoint, LeftoversAreIgnoredAndClearedByTheNextWriter) {
  save_small(10);
  std::filesystem::copy(run_ / "checkpoints/ckpt-000010", run_ / "checkpoints/ckpt-000020.tmp-1");
  std::filesystem::copy(run_ / "checkpoints/ckpt-000010", run_ / "checkpoints/ckpt-000010.old-1");
  put(run_ / "checkpoints/latest.tmp-1", "x");
  put(run_ / "checkpoints/notes.txt", "mine");
  EXPECT_EQ(newest_valid_checkpoint(run_).path, run_ / "checkpoints/ckpt-000010");
  EXPECT_EQ(list_checkpoints(run_).size(), 1u);
  save_small(30);
  EXPECT_EQ(names(),
            (std::vector<std::string>{"ckpt-000010", "ckpt-000030", "latest", "notes.txt"}));
}

TEST_F(Checkpoint, OneMovedAsideCountsUntilItsSuccessorIsInPlace) {
  std::filesystem::rename(save_small(10), run_ / "checkpoints/ckpt-000010.old-1");
  EXPECT_EQ(newest_valid_checkpoint(run_).path, run_ / "checkpoints/ckpt-000010.old-1");
  EXPECT_EQ(newest_valid_checkpoint(run_).step, 10);
  save_small(20);
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000010", "ckpt-000020", "latest"}));
}

TEST_F(Checkpoint, ASecondSaveOfTheSameStepReplacesTheFirst) {
  put(join_path(save_small(10), "state.bin"), "damaged");
  save_small(10);
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000010", "latest"}));
  EXPECT_TRUE(verify_checkpoint(run_ / "checkpoints/ckpt-000010").empty());
}

TEST_F(Checkpoint, AnAbandonedSaveLeavesNothing) {
  save_small(10);
  {
    CheckpointWriter writer(real_fs(), run_, 20);
    writer.add_file("config.json", "{}");
  }
  EXPECT_EQ(names(), (std::vector<std::string>{"ckpt-000010", "latest"}));
}

TEST_F(Checkpoint, WriterRefusesBadNamesAndUseAfterFailure) {
  CheckpointWriter writer(real_fs(), run_, 20);
  for (const char* name : {"", ".", "..", "a/b", "../x", "manifest.json"})
    EXPECT_ERROR(writer.add_file(name, "x"), "cannot be the name");
  writer.add_file("x", "1");
  EXPECT_ERROR(writer.add_file("x", "2"), "added twice");
  EXPECT_THROW(writer.add_file("y", [](const ByteSink&) { throw Error("the producer failed"); }),
               Error);
  EXPECT_ERROR(writer.add_file("z", "1"), "start a new one");
  EXPECT_ERROR(writer.commit(1), "start a new one");
  EXPECT_ERROR(CheckpointWriter(real_fs(), run_, -1), "negative");
}

}  // namespace
}  // namespace moe
