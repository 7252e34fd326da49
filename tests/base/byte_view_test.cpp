// SPDX-License-Identifier: MIT
#include "moe/base/byte_view.h"

#include <gtest/gtest.h>

#include "temp_folder.h"

namespace moe {
namespace {

const ByteView& four_bytes() {
  static const std::byte bytes[] = {std::byte{1}, std::byte{2}, std::byte{'x'}, std::byte{'y'}};
  static const ByteView view(bytes, "[t] file");
  return view;
}

TEST(ByteView, ReadsLittleEndianAtAnyAlignment) {
  EXPECT_EQ(four_bytes().read<uint16_t>(0, "a"), 0x0201);
  EXPECT_EQ(four_bytes().read<uint16_t>(1, "a"), 0x7802);
  EXPECT_EQ(four_bytes().text(2, 2, "a"), "xy");
}

TEST(ByteView, AReadBeyondTheEndNamesFileFieldAndOffset) {
  const std::string error = error_of([] { four_bytes().read<uint32_t>(1, "header size"); });
  EXPECT_EQ(error,
            "[t] file: header size wants 4 bytes at offset 1, but the file has 4 bytes; it is "
            "damaged or incomplete");
}

TEST(ByteView, OffsetsThatOverflowAreRefused) {
  EXPECT_NE(error_of([] { four_bytes().slice(~uint64_t{0}, 2, "a"); }), "");
  EXPECT_NE(error_of([] { four_bytes().slice(2, ~uint64_t{0}, "a"); }), "");
  EXPECT_EQ(four_bytes().slice(4, 0, "a").size(), 0u);
}

TEST(CheckedArithmetic, OverflowIsAnError) {
  EXPECT_EQ(checked_mul(uint64_t{1} << 31, uint64_t{1} << 32, "x"), uint64_t{1} << 63);
  EXPECT_NE(error_of([] { checked_mul(uint64_t{1} << 32, uint64_t{1} << 32, "x"); }), "");
  EXPECT_NE(error_of([] { checked_add(~uint64_t{0}, 1, "x"); }), "");
}

}  // namespace
}  // namespace moe
