// SPDX-License-Identifier: MIT
// safetensors against the library that defines it, and against hostile files.
#include "moe/io/safetensors.h"

#include <fmt/format.h>

#include "moe/io/checksum.h"
#include "moe/io/safetensors_writer.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

const std::string kOddName = "odd \"name\"\\\n\x01\xc3\xa9";

/// The tensors of tests/golden/io/all_types.safetensors.
std::vector<std::pair<std::string, Tensor>> golden_tensors() {
  std::vector<std::pair<std::string, Tensor>> tensors;
  const auto add = [&](const std::string& name, Shape shape, DType dtype) {
    tensors.emplace_back(name, pattern_tensor(shape, dtype));
  };
  add("f32", {3, 5}, DType::f32);
  add("a.f32", {2, 1, 3, 2}, DType::f32);
  add("f64", {3}, DType::f64);
  add("f16", {5}, DType::f16);
  add("bf16", {7, 1}, DType::bf16);
  add("i64", {2}, DType::i64);
  add("i32", {}, DType::i32);
  add("i16", {3}, DType::i16);
  add("i8", {3}, DType::i8);
  add("u64", {1}, DType::u64);
  add("u32", {2, 2}, DType::u32);
  add("u16", {3}, DType::u16);
  add("u8", {0, 4}, DType::u8);
  add("bool", {5}, DType::boolean);
  add(kOddName, {1}, DType::f32);
  return tensors;
}

std::vector<TensorSource> golden_sources() {
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : golden_tensors())
    sources.push_back(tensor_source(name, tensor));
  return sources;
}

std::string written(std::vector<TensorSource> sources,
                    const std::map<std::string, std::string>& metadata = {}) {
  std::string file;
  write_safetensors(
      [&](std::span<const std::byte> bytes) {
        file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      },
      std::move(sources), metadata);
  return file;
}

/// A file with this header text (padded) and so many bytes of data.
std::string made(std::string header, size_t data_bytes) {
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t n = header.size();
  return std::string(reinterpret_cast<const char*>(&n), 8) + header + std::string(data_bytes, 'd');
}

class SafetensorsFileTest : public testing::Test {
 protected:
  /// Opens a file of this content.
  SafetensorsFile open(std::string_view content) {
    put(path_, content);
    return SafetensorsFile(path_);
  }
  TempFolder folder_;
  std::string path_ = folder_ / "x.safetensors";
};

TEST_F(SafetensorsFileTest, ReadsWhatThePythonLibraryWrote) {
  const SafetensorsFile file(golden("all_types.safetensors"));
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  const auto want = golden_tensors();
  EXPECT_EQ(file.entries().size(), want.size());
  for (const auto& [name, tensor] : want) EXPECT_TRUE(same_bits(file.tensor(name), tensor)) << name;
  EXPECT_EQ(SafetensorsFile(golden("empty.safetensors")).entries().size(), 0u);
}

TEST_F(SafetensorsFileTest, WritesTheBytesOfThePythonLibrary) {
  EXPECT_EQ(written(golden_sources(), {{"format", "pt"}}),
            read_file(golden("all_types.safetensors")));
  EXPECT_EQ(written({}), read_file(golden("empty.safetensors")));
}

TEST_F(SafetensorsFileTest, OrderOfTheTensorsGivenDoesNotMatter) {
  auto sources = golden_sources();
  std::reverse(sources.begin(), sources.end());
  EXPECT_EQ(written(sources), written(golden_sources()));
}

TEST_F(SafetensorsFileTest, PanelTensorsAreWrittenRowMajor) {
  // 1,100,000 bytes a matrix: more than one piece.
  const Tensor plain = pattern_tensor({2, 250, 1100}, DType::f32);
  for (const Layout layout : {Layout::panel16, Layout::panel16_gate_up})
    EXPECT_EQ(written({tensor_source("w", to_layout(plain, layout))}),
              written({tensor_source("w", plain)}));
}

TEST_F(SafetensorsFileTest, ReadWriteReadKeepsEveryByte) {
  const SafetensorsFile file(golden("all_types.safetensors"));
  std::vector<TensorSource> sources;
  for (const SafetensorsEntry& entry : file.entries())
    sources.push_back(tensor_source(entry.name, file.tensor(entry)));
  write_safetensors(real_fs(), path_, sources, file.metadata());
  EXPECT_EQ(read_file(path_), read_file(golden("all_types.safetensors")));
}

TEST_F(SafetensorsFileTest, ASourceOfTheWrongLengthLeavesNoFile) {
  TensorSource source = tensor_source("w", Tensor::zeros({4}, DType::f32));
  for (const size_t n : {size_t(15), size_t(17)}) {
    source.content = [n](const ByteSink& sink) { sink(std::vector<std::byte>(n)); };
    EXPECT_ERROR(write_safetensors(real_fs(), path_, {source}, {}), "pushed");
    EXPECT_TRUE(list_directory(folder_.path()).empty());
  }
}

TEST_F(SafetensorsFileTest, WriterRefusesBadNames) {
  const Tensor one = Tensor::zeros({1}, DType::f32);
  EXPECT_ERROR(written({tensor_source("w", one), tensor_source("w", one)}), "called 'w'");
  EXPECT_ERROR(written({tensor_source("__metadata__", one)}), "cannot be the name");
  EXPECT_ERROR(written({tensor_source(std::string(257, 'a'), one)}), "cannot be the name");
}

TEST_F(SafetensorsFileTest, AMissingTensorIsAnErrorThatNamesTheNearest) {
  const SafetensorsFile file(golden("all_types.safetensors"));
  EXPECT_EQ(file.find("nothing"), nullptr);
  EXPECT_ERROR(file.tensor("boool"), "'bool'");
}

TEST_F(SafetensorsFileTest, MoreThanFourDimensionsParseButGiveNoTensor) {
  const auto file =
      open(made(R"({"w":{"dtype":"U8","shape":[1,1,1,1,2],"data_offsets":[0,2]}})", 2));
  EXPECT_EQ(file.entries()[0].shape_text(), "[1, 1, 1, 1, 2]");
  EXPECT_EQ(file.bytes(file.entries()[0]).size(), 2u);
  EXPECT_ERROR(file.tensor("w"), "5 dimensions");
}

TEST_F(SafetensorsFileTest, RefusesEveryTruncation) {
  for_each_truncation(read_file(golden("all_types.safetensors")), [&](const std::string& content) {
    EXPECT_THROW(open(content), Error) << content.size();
  });
}

TEST_F(SafetensorsFileTest, DamagedFilesAreRefusedOrStayInBounds) {
  int parsed = 0;
  for_each_flip(read_file(golden("all_types.safetensors")), 10000, [&](const std::string& content) {
    try {
      const auto file = open(content);
      uint64_t bytes = 0;
      for (const SafetensorsEntry& entry : file.entries()) {
        bytes += entry.bytes;
        EXPECT_EQ(xxh3_128_hex(file.bytes(entry)).size(), 32u);  // touches each byte
      }
      EXPECT_LT(bytes, content.size());
      ++parsed;
    } catch (const Error&) {
    }
  });
  EXPECT_GT(parsed, 100);  // flips of data bytes are no fault that the format can see
}

TEST_F(SafetensorsFileTest, RefusesBadHeaders) {
  struct Case {
    const char* header;
    size_t data_bytes;
    const char* message;
  };
  const std::string long_name(257, 'n');
  const std::string with_long_name =
      R"({")" + long_name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  const Case cases[] = {
      {R"( {"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "start with '{'"},
      {R"([])", 0, "start with '{'"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}x)", 1, "after the end"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},})", 1, "'\"' belongs"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "occurs twice"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0077":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "occurs twice"},
      {R"({"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "repeated key"},
      {R"({"w":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1, "repeated key"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0}})", 1, "unknown or repeated"},
      {R"({"w":{"dtype":"U8","shape":[1]}})", 0, "lacks"},
      {R"({"w":{"dtype":"F3","shape":[1],"data_offsets":[0,1]}})", 1, "dtype 'F3'"},
      {R"({"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", 1, "not supported"},
      {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,1]}})", 1, "takes 4 bytes"},
      {R"({"w":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", 1, "takes 2 bytes"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,2]}})", 1, "bytes 0 to 2"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1, "bytes 1 to 0"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", 1, "lies at"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "two numbers"},
      {R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1, "two numbers"},
      {R"({"w":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, "whole number"},
      {R"({"w":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "whole number"},
      {R"({"w":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
       "64 bits"},
      {R"({"w":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0, "64 bits"},
      {R"({"w":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0]}})", 0,
       "a size of"},
      {R"({"w":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
       "8 dimensions"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "overlap"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       2, "overlap"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       3, "hole"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "hole"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2, "the tensors end at"},
      {R"({})", 1, "the tensors end at"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", 0, "twice in __metadata__"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "occurs twice"},
      {R"({"__metadata__":{"a":1}})", 0, "'\"' belongs"},
      {R"({"__metadata__":[]})", 0, "'{' belongs"},
      {with_long_name.c_str(), 1, "longer than 256"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.header);
    EXPECT_ERROR(open(made(c.header, c.data_bytes)), c.message);
  }
}

TEST_F(SafetensorsFileTest, RefusesImpossibleHeaderLengths) {
  const std::string good = made("{}", 0);
  for (const uint64_t length :
       {uint64_t(9), uint64_t(1) << 32, uint64_t(1) << 63, UINT64_MAX, uint64_t(100'000'001)}) {
    std::string bad = good;
    bad.replace(0, 8, reinterpret_cast<const char*>(&length), 8);
    EXPECT_ERROR(open(bad), "header length");
    EXPECT_LT(peak_memory_of([&] { SafetensorsFile file(path_); }), 1 << 20);
  }
  // Long enough, but over the limit: a sparse file.
  const uint64_t length = 100'000'001;
  put(path_, std::string(reinterpret_cast<const char*>(&length), 8) + "{");
  std::filesystem::resize_file(path_, length + 8);
  EXPECT_ERROR(SafetensorsFile{path_}, "at most 100000000");
}

TEST_F(SafetensorsFileTest, HostileHeadersCostAtMostFourTimesTheFileAndOneMebibyte) {
  const auto repeated = [](const std::string& prefix, int n, const auto& member,
                           const std::string& suffix) {
    std::string header = prefix;
    for (int i = 0; i < n; ++i) header += (i ? "," : "") + member(i);
    return made(header + suffix, 0);
  };
  const std::string tail = R"(:{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  const std::string contents[] = {
      repeated(
          "{", 100000, [&](int i) { return "\"" + str(i) + "\"" + tail; }, "}"),
      repeated(
          "{", 50000, [&](int i) { return fmt::format("\"{:016d}\"", i) + tail; }, "}"),
      repeated(
          "{", 50000, [&](int) { return "\"w\"" + tail; }, "}"),
      repeated(
          "{\"__metadata__\":{", 200000, [](int i) { return "\"" + str(i) + "\":\"\""; }, "}}"),
      made("{" + std::string(4000000, '{'), 0),
      made("{\"" + std::string(8000000, 'a'), 0),
      made("{\"__metadata__\":{\"a\":\"" + std::string(8000000, 'a') + "\"}}", 0),
      made("{\"__metadata__\":{\"a\":\"" + std::string(20000000, 'a') + "\"}}", 0),
      made("{\"w\":{\"dtype\":\"U8\",\"shape\":[" + std::string(4000000, '1'), 0),
  };
  for (const std::string& content : contents) {
    put(path_, content);
    EXPECT_LE(peak_memory_of([&] { SafetensorsFile file(path_); }),
              4 * int64_t(content.size()) + (1 << 20))
        << content.substr(8, 60);
  }
}

}  // namespace
}  // namespace moe
