// SPDX-License-Identifier: MIT
// .npy against NumPy, and against hostile files.
#include "moe/io/npy.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

struct GoldenArray {
  const char* name;
  DType dtype;
  Shape shape;
};
// As tools/make_io_golden.py writes them.
const GoldenArray kGolden[] = {
    {"f8", DType::f64, {3}},       {"f4", DType::f32, {3, 5}}, {"f2", DType::f16, {2, 2}},
    {"i8", DType::i64, {2, 1, 3}}, {"i4", DType::i32, {}},     {"i2", DType::i16, {0, 7}},
    {"i1", DType::i8, {5}},        {"u8", DType::u64, {1}},    {"u4", DType::u32, {2, 3, 1, 2}},
    {"u2", DType::u16, {130}},     {"u1", DType::u8, {4}},     {"b1", DType::boolean, {3}}};

std::string file_with_header(std::string header, size_t data_bytes) {
  const auto n = uint16_t(header.size());
  return std::string("\x93NUMPY\x01\x00", 8) + char(n & 0xFF) + char(n >> 8) + header +
         std::string(data_bytes, 'd');
}

class Npy : public testing::Test {
 protected:
  Tensor read(std::string_view content) {
    put(path_, content);
    return read_npy(path_);
  }
  TempFolder folder_;
  std::string path_ = folder_ / "x.npy";
};

TEST_F(Npy, ReadsWhatNumpyWrote) {
  for (const GoldenArray& array : kGolden)
    EXPECT_TRUE(same_bits(read_npy(golden(str(array.name, ".npy"))),
                          pattern_tensor(array.shape, array.dtype)))
        << array.name;
}

TEST_F(Npy, WritesTheBytesOfNumpySave) {
  for (const GoldenArray& array : kGolden) {
    write_npy(real_fs(), path_, pattern_tensor(array.shape, array.dtype));
    EXPECT_EQ(read_file(path_), read_file(golden(str(array.name, ".npy")))) << array.name;
  }
}

TEST_F(Npy, ReadsVersions2And3) {
  for (const char* name : {"version_2.npy", "version_3.npy"})
    EXPECT_TRUE(same_bits(read_npy(golden(name)), pattern_tensor({3, 5}, DType::f32))) << name;
}

TEST_F(Npy, SaysHowToSaveArraysThatItDoesNotRead) {
  EXPECT_ERROR(read_npy(golden("fortran.npy")), "numpy.ascontiguousarray(a)");
  EXPECT_ERROR(read_npy(golden("big_endian.npy")), "a.astype('<f4')");
  EXPECT_ERROR(read_npy(golden("structured.npy")), "structured");
  EXPECT_ERROR(read_npy(golden("objects.npy")), "pickle");
}

TEST_F(Npy, WritingRefusesWhatNumpyHasNoNameFor) {
  EXPECT_ERROR(write_npy(real_fs(), path_, Tensor::zeros({2}, DType::bf16)), "F32");
  EXPECT_ERROR(write_npy(real_fs(), path_, Tensor::zeros({16, 2}, DType::f32, Layout::panel16)),
               "row-major");
}

TEST_F(Npy, AcceptsAnyOrderQuotesAndSpaces) {
  EXPECT_EQ(
      read(file_with_header("{ \"shape\" :( 2 ,3 ) ,'fortran_order':False, 'descr':'|u1'}   \n", 6))
          .shape(),
      (Shape{2, 3}));
}

TEST_F(Npy, RefusesBadHeaders) {
  const struct {
    const char* header;
    size_t data_bytes;
    const char* message;
  } cases[] = {
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}", 2, "takes 3 bytes"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}", 4, "takes 3 bytes"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 3, "takes 12 bytes"},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,)}", 0, "64 bits"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 0, "64 bits"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775808,)}", 0, "63 bits"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}", 1, "digits"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1)}", 1, "(n,)"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1)}", 1, "4 dimensions"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': [1]}", 1, "'(' belongs"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1 2)}", 2, "belongs"},
      {"{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}", 1, "True or False"},
      {"{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", 1, "repeated"},
      {"{'descr': '|u1', 'shape': (1,)}", 1, "missing"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}", 1, "unknown"},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, "not supported"},
      {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} or exit()", 1, "after the header"},
      {"{'descr': __import__('os')}", 1, "quoted"},
      {"{'descr", 0, "does not end"},
      {"", 0, "'{' belongs"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.header);
    EXPECT_ERROR(read(file_with_header(c.header, c.data_bytes)), c.message);
  }
}

TEST_F(Npy, RefusesOtherFilesAndVersions) {
  EXPECT_ERROR(read(""), "damaged or incomplete");
  EXPECT_ERROR(read("PK\x03\x04 an .npz, say"), "not an .npy file");
  EXPECT_ERROR(read(std::string("\x93NUMPY\x04\x00\x00\x00\x00\x00", 12)), "version 4.0");
  EXPECT_ERROR(read(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)), "at most 65536");
}

TEST_F(Npy, RefusesEveryTruncation) {
  for (const char* name : {"f4.npy", "version_2.npy"})
    for_each_truncation(read_file(golden(name)), [&](const std::string& content) {
      EXPECT_THROW(read(content), Error) << content.size();
    });
}

TEST_F(Npy, DamagedFilesAreRefusedOrStayInBoundsAndSmall) {
  int parsed = 0;
  for_each_flip(read_file(golden("f4.npy")), 10000, [&](const std::string& content) {
    const int64_t peak = peak_memory_of([&] {
      const Tensor tensor = read(content);
      EXPECT_LT(tensor.stored_bytes(), int64_t(content.size()));
      ++parsed;
    });
    EXPECT_LE(peak, 4 * int64_t(content.size()) + (1 << 20));
  });
  EXPECT_GT(parsed, 100);  // flips of data bytes are no fault that the format can see
}

}  // namespace
}  // namespace moe
