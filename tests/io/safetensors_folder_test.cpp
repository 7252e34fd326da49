// SPDX-License-Identifier: MIT
// Model folders of one safetensors file or of shards with an index.
#include "moe/io/safetensors_folder.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

constexpr std::string_view kIndex = "model.safetensors.index.json";

class SafetensorsFolderTest : public testing::Test {
 protected:
  /// Tensors t0 .. t4 of 40 bytes each, at most two in a shard of 100 bytes.
  std::vector<TensorSource> five_tensors() const {
    std::vector<TensorSource> sources;
    for (int i = 0; i < 5; ++i)
      sources.push_back(tensor_source(str("t", i), pattern_tensor({10}, DType::f32)));
    return sources;
  }
  void write_shards() const {
    write_safetensors_folder(real_fs(), folder_.path(), five_tensors(), {{"format", "pt"}}, 100);
  }
  void put_index(std::string_view weight_map) const {
    put(folder_ / kIndex, str("{\"metadata\":{\"total_size\":1},\"weight_map\":", weight_map, "}"));
  }
  TempFolder folder_;
};

TEST_F(SafetensorsFolderTest, FewBytesMakeOneFile) {
  write_safetensors_folder(real_fs(), folder_.path(), five_tensors(), {}, 200);
  EXPECT_EQ(list_directory(folder_.path()), (std::vector<std::string>{"model.safetensors"}));
  EXPECT_EQ(SafetensorsFolder(folder_.path()).items().size(), 5u);
}

TEST_F(SafetensorsFolderTest, ShardsAreFilledInOrderAndIndexed) {
  write_shards();
  EXPECT_EQ(list_directory(folder_.path()),
            (std::vector<std::string>{"model-00001-of-00003.safetensors",
                                      "model-00002-of-00003.safetensors",
                                      "model-00003-of-00003.safetensors", std::string(kIndex)}));
  // The text that huggingface_hub writes: json.dumps(indent=2, sort_keys=True) and a newline.
  EXPECT_EQ(read_file(folder_ / kIndex), R"({
  "metadata": {
    "total_size": 200
  },
  "weight_map": {
    "t0": "model-00001-of-00003.safetensors",
    "t1": "model-00001-of-00003.safetensors",
    "t2": "model-00002-of-00003.safetensors",
    "t3": "model-00002-of-00003.safetensors",
    "t4": "model-00003-of-00003.safetensors"
  }
}
)");
  const SafetensorsFolder folder(folder_.path());
  EXPECT_EQ(folder.n_files(), 3u);
  EXPECT_EQ(folder.metadata().at("format"), "pt");
  ASSERT_EQ(folder.items().size(), 5u);
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(same_bits(folder.tensor(str("t", i)), pattern_tensor({10}, DType::f32)));
  EXPECT_EQ(folder.find("t5"), nullptr);
  EXPECT_ERROR(folder.tensor("t5"), "no tensor 't5'");
}

TEST_F(SafetensorsFolderTest, ATensorLargerThanAShardStandsAlone) {
  write_safetensors_folder(real_fs(), folder_.path(), five_tensors(), {}, 8);
  EXPECT_EQ(SafetensorsFolder(folder_.path()).n_files(), 5u);
}

TEST_F(SafetensorsFolderTest, WritingRefusesAFolderWithAModelInIt) {
  write_shards();
  EXPECT_ERROR(write_shards(), "already holds");
}

TEST_F(SafetensorsFolderTest, ShardNamesMayNotLeaveTheFolder) {
  write_shards();
  for (const char* name : {"../model-00001-of-00003.safetensors", "/etc/passwd", "..", ".", "",
                           "a/b.safetensors", "a\\\\b", "\\u0000"}) {
    put_index(str("{\"t0\":\"", name, "\"}"));
    EXPECT_ERROR(SafetensorsFolder(folder_.path()), "inside the folder");
  }
}

TEST_F(SafetensorsFolderTest, RefusesAnIndexThatDoesNotFitTheShards) {
  write_shards();
  const std::string first = "model-00001-of-00003.safetensors";
  put_index("{\"t4\":\"" + first + "\"}");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "'t4' is not in");
  put_index("{\"t0\":\"" + first + "\",\"t0\":\"" + first + "\"}");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "occurs twice");
  put_index("{\"t0\":\"missing.safetensors\"}");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "missing.safetensors");
  put_index("{}");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "weight_map");
  put_index("[]");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "'{' belongs");
  put(folder_ / kIndex, "{\"weight_map\":{},\"weight_map\":{}}");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "weight_map occurs twice");
  put(folder_ / kIndex, "{\"metadata\":{},\"metadata\":{}}");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "metadata occurs twice");
  for (const char* inside : {"{\"a\":1,\"b\":2,\"a\":3}", "{\"x\":[{\"a\":1,\"\\u0061\":1}]}"}) {
    put(folder_ / kIndex,
        str("{\"metadata\":", inside, ",\"weight_map\":{\"t0\":\"", first, "\"}}"));
    EXPECT_ERROR(SafetensorsFolder(folder_.path()), "a key occurs twice");
  }
}

TEST_F(SafetensorsFolderTest, ExplainsAFolderWithoutSafetensors) {
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "neither model.safetensors nor");
  EXPECT_ERROR(SafetensorsFolder(folder_ / "none"), "no such folder");
  put(folder_ / "pytorch_model.bin", "x");
  EXPECT_ERROR(SafetensorsFolder(folder_.path()), "pickle");
}

TEST_F(SafetensorsFolderTest, DamagedIndexesAreRefusedOrStayInBounds) {
  write_shards();
  const std::string good = read_file(folder_ / kIndex);
  int parsed = 0;
  const auto check = [&](const std::string& content) {
    put(folder_ / kIndex, content);
    try {
      const SafetensorsFolder folder(folder_.path());
      for (const auto& item : folder.items())
        EXPECT_EQ(folder.tensor(item.entry->name).numel(), 10);
      ++parsed;
    } catch (const Error&) {
    }
  };
  for_each_truncation(good, check);
  EXPECT_EQ(parsed, 1);  // only the one that cuts the last newline
  for_each_flip(good, 2000, check);
}

TEST_F(SafetensorsFolderTest, AHostileIndexCostsAtMostFourTimesItsSizeAndOneMebibyte) {
  write_shards();
  std::string map = "{";
  for (int i = 0; i < 300000; ++i)
    map += str(i ? "," : "", "\"t0\":\"model-00001-of-00003.safetensors\"");
  std::string colons = "{\"t0\":\"" + std::string(4000000, ':');
  for (const std::string& weight_map : {map + "}", colons}) {
    put_index(weight_map);
    EXPECT_LE(peak_memory_of([&] { SafetensorsFolder folder(folder_.path()); }),
              4 * int64_t(weight_map.size()) + (1 << 20));
  }
}

}  // namespace
}  // namespace moe
