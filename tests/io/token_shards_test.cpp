// SPDX-License-Identifier: MIT
// Pre-tokenised inputs.
#include "moe/io/token_shards.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

template <class T>
std::string raw(std::vector<T> ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(T)};
}

std::vector<int64_t> ids_of(const TokenFile& file) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < file.size(); ++i) ids.push_back(file.id(i));
  return ids;
}

class TokenFileTest : public testing::Test {
 protected:
  std::string npy(const Tensor& tensor) {
    write_npy(real_fs(), folder_ / "x.npy", tensor);
    return folder_ / "x.npy";
  }
  std::string bin(std::string_view content) {
    put(folder_ / "x.bin", content);
    return folder_ / "x.bin";
  }
  TempFolder folder_;
};

TEST_F(TokenFileTest, ReadsFlatAndTwoDimensionalNpyOfEachType) {
  const auto check = [&](const auto& values, auto max) {
    using T = std::decay_t<decltype(values[0])>;
    const std::vector<int64_t> want(values.begin(), values.end());
    const TokenFile flat(npy(Tensor::from<T>({6}, values)));
    EXPECT_EQ(ids_of(flat), want);
    EXPECT_EQ(flat.sequence_length(), 0);
    EXPECT_EQ(flat.max_id(), int64_t(max));
    const TokenFile rows(npy(Tensor::from<T>({2, 3}, values)));
    EXPECT_EQ(ids_of(rows), want);
    EXPECT_EQ(rows.sequence_length(), 3);
  };
  check(std::vector<uint16_t>{1, 2, 65535, 4, 5, 6}, 65535);
  check(std::vector<uint32_t>{1, 2, 4294967295u, 4, 5, 6}, 4294967295u);
  check(std::vector<int32_t>{1, 2, 2147483647, 4, 5, 6}, 2147483647);
  check(std::vector<int64_t>{1, 2, 3, 4, int64_t(1) << 40, 6}, int64_t(1) << 40);
}

TEST_F(TokenFileTest, ReadsBinOfTheTypeGiven) {
  EXPECT_EQ(ids_of(TokenFile(bin(raw<uint16_t>({7, 65535})))), (std::vector<int64_t>{7, 65535}));
  EXPECT_EQ(ids_of(TokenFile(bin(raw<uint32_t>({7, 1u << 31})), DType::u32)),
            (std::vector<int64_t>{7, int64_t(1) << 31}));
}

TEST_F(TokenFileTest, RefusesFilesThatAreNoTokens) {
  EXPECT_ERROR(TokenFile(bin("abc")), "no whole number of U16");
  EXPECT_ERROR(TokenFile(bin("abcdef"), DType::u32), "no whole number of U32");
  EXPECT_ERROR(TokenFile(bin("")), "no token ids");
  EXPECT_ERROR(TokenFile(bin("ab"), DType::i64), "holds U16 or U32");
  EXPECT_ERROR(TokenFile(npy(Tensor::zeros({3}, DType::f32))), "ids of type F32");
  EXPECT_ERROR(TokenFile(npy(Tensor::zeros({1, 1, 3}, DType::u16))), "[sequences, length]");
  EXPECT_ERROR(TokenFile(npy(Tensor::zeros({}, DType::u16))), "[sequences, length]");
  EXPECT_ERROR(TokenFile(npy(Tensor::zeros({0, 5}, DType::u16))), "no token ids");
  EXPECT_ERROR(TokenFile(folder_ / "missing.bin"), "missing.bin");
  put(folder_ / "x.txt", "ab");
  EXPECT_ERROR(TokenFile(folder_ / "x.txt"), ".npy or .bin");
}

TEST_F(TokenFileTest, NamesTheFirstIdOutsideTheVocabulary) {
  const TokenFile file(npy(Tensor::from<int32_t>({4}, std::vector<int32_t>{3, 9, 10, -1})));
  EXPECT_ERROR(file.check_ids(10), "id 10 at position 2");
  EXPECT_ERROR(file.check_ids(11), "id -1 at position 3");
  EXPECT_ERROR(file.max_id(), "id -1 at position 3");
  const TokenFile good(bin(raw<uint16_t>({3, 9})));
  EXPECT_NO_THROW(good.check_ids(10));
  EXPECT_EQ(good.max_id(), 9);
}

TEST_F(TokenFileTest, ReadsIdsAtAnyAlignmentInPlace) {
  // A header of odd length: the data start at no multiple of 4.
  const std::string header = "{'descr':'<u4','fortran_order':False,'shape':(2,),}     \n";
  const std::string prefix = std::string("\x93NUMPY\x01\x00", 8) + char(header.size()) + '\0';
  ASSERT_NE((prefix.size() + header.size()) % 4, 0u);
  put(folder_ / "odd.npy", prefix + header + raw<uint32_t>({5, 6}));
  EXPECT_EQ(ids_of(TokenFile(folder_ / "odd.npy")), (std::vector<int64_t>{5, 6}));
  EXPECT_LT(peak_memory_of([&] { TokenFile file(folder_ / "odd.npy"); }), 4096);
}

}  // namespace
}  // namespace moe
