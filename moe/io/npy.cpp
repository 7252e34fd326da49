// SPDX-License-Identifier: MIT
// The .npy reader and writer (see npy.h). The header's layout follows numpy/lib/_format_impl.py of
// NumPy 2.4.
#include "moe/io/npy.h"

#include <array>
#include <cstring>
#include <utility>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/str.h"
#include "moe/io/byte_sink.h"

namespace moe {
namespace {

constexpr std::string_view kMagic{"\x93NUMPY", 6};
constexpr uint64_t kMaxHeaderBytes =
    64 << 10;  // a dict of three keys and at most four sizes takes 128 bytes

struct NpyType {
  std::string_view descr;  // as numpy writes it
  DType dtype;
};
constexpr std::array kTypes = {
    NpyType{"<f8", DType::f64}, NpyType{"<f4", DType::f32}, NpyType{"<f2", DType::f16},
    NpyType{"<i8", DType::i64}, NpyType{"<i4", DType::i32}, NpyType{"<i2", DType::i16},
    NpyType{"|i1", DType::i8},  NpyType{"<u8", DType::u64}, NpyType{"<u4", DType::u32},
    NpyType{"<u2", DType::u16}, NpyType{"|u1", DType::u8},  NpyType{"|b1", DType::boolean}};

struct NpyHeader {
  DType dtype = DType::f32;
  Shape shape;
};

/// The grammar of what numpy writes: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
/// with any order of the keys, either quote, free spaces and an optional last comma.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  NpyHeader parse() {
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !std::exchange(has_descr, true))
        read_descr();
      else if (key == "fortran_order" && !std::exchange(has_order, true))
        read_order();
      else if (key == "shape" && !std::exchange(has_shape, true))
        read_shape();
      else
        fail(str("an unknown or repeated key '", printable(key, 40), "'"));
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail("text after the header's dict");
    if (!has_descr || !has_order || !has_shape) fail("descr, fortran_order or shape is missing");
    return header_;
  }

 private:
  [[noreturn]] void fail(std::string_view reason) const {
    throw Error(str(what_, ": header byte ", at_, ": ", reason));
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(str("'", c, "' belongs here"));
  }
  bool accept_word(std::string_view word) {
    skip_space();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  std::string_view quoted() {
    const char quote = accept('\'') ? '\'' : accept('"') ? '"' : '\0';
    if (!quote) fail("a quoted string belongs here");
    const size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) fail("a string does not end");
    const std::string_view value = text_.substr(at_, end - at_);
    at_ = end + 1;
    return value;
  }

  void read_descr() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[')
      fail("it is a structured array; save one field of it, e.g. numpy.save(path, a['ids'])");
    const std::string_view descr = quoted();
    for (const NpyType& type : kTypes)
      if (type.descr == descr) {
        header_.dtype = type.dtype;
        return;
      }
    if (starts_with(descr, ">"))
      fail(str("the numbers are big-endian ('", printable(descr, 20),
               "'); save them with numpy.save(path, a.astype('<", printable(descr.substr(1), 20),
               "'))"));
    if (starts_with(descr, "|O"))
      fail("it is an array of Python objects (a pickle, never read); save numbers");
    fail(str("element type '", printable(descr, 20),
             "' is not supported; save e.g. numpy.save(path, a.astype('<f4'))"));
  }
  void read_order() {
    if (accept_word("True"))
      fail(
          "the array is in Fortran order; save it with numpy.save(path, "
          "numpy.ascontiguousarray(a))");
    if (!accept_word("False")) fail("fortran_order must be True or False");
  }
  void read_shape() {
    expect('(');
    bool comma = true;
    while (!accept(')')) {
      if (!comma) fail("',' or ')' belongs here");
      if (header_.shape.rank() == Shape::kMaxRank)
        fail(str("more than ", Shape::kMaxRank, " dimensions"));
      header_.shape.push_back(read_size());
      comma = accept(',');
    }
    if (header_.shape.rank() == 1 && !comma) fail("(n) is a number in Python, a shape is (n,)");
  }
  int64_t read_size() {
    skip_space();
    const size_t begin = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, int64_t(text_[at_] - '0'), &value))
        fail("a size does not fit in 63 bits");
    if (at_ == begin) fail("a size (digits) belongs here");
    return value;
  }

  std::string_view text_;
  const std::string& what_;
  size_t at_ = 0;
  NpyHeader header_;
};

std::string shape_as_python(const Shape& shape) {
  std::string text = "(";
  for (int i = 0; i < shape.rank(); ++i) text += str(i ? ", " : "", shape[i]);
  return text + (shape.rank() == 1 ? ",)" : ")");
}

/// numpy's _write_array_header: room for the first size to grow to 21 digits, then padding to a
/// multiple of 64.
std::string header_bytes(const Tensor& tensor) {
  std::string_view descr;
  for (const NpyType& type : kTypes)
    if (type.dtype == tensor.dtype()) descr = type.descr;
  MOE_CHECK(!descr.empty(), "[npy] NumPy has no type for ", dtype_name(tensor.dtype()),
            "; convert the tensor to F32 first");
  std::string header =
      str("{'descr': '", descr,
          "', 'fortran_order': False, 'shape': ", shape_as_python(tensor.shape()), ", }");
  constexpr size_t kGrowthDigits = 21, kAlign = 64, kPrefix = 10;
  if (tensor.shape().rank() > 0) header.append(kGrowthDigits - str(tensor.size(0)).size(), ' ');
  header.append(kAlign - (kPrefix + header.size() + 1) % kAlign, ' ');
  header += '\n';
  const auto length = uint16_t(header.size());  // at most 4 sizes of 19 digits: far below 2^16
  return std::string(kMagic) + std::string({'\1', '\0', char(length & 0xFF), char(length >> 8)}) +
         header;
}

}  // namespace

NpyFile::NpyFile(const std::string& path) : file_(path) {
  const ByteView view(file_.bytes(), str("[npy] ", path));
  MOE_CHECK(view.text(0, kMagic.size(), "the magic string") == kMagic, view.what(),
            ": it does not start with \\x93NUMPY; this is not an .npy file");
  const int version = view.read<uint8_t>(6, "the version");
  const int minor = view.read<uint8_t>(7, "the version");
  MOE_CHECK(version >= 1 && version <= 3 && minor == 0, view.what(), ": format version ", version,
            ".", minor, ", versions 1.0 to 3.0 are known");
  const uint64_t length_bytes = version == 1 ? 2 : 4;
  const uint64_t header_size = version == 1 ? view.read<uint16_t>(8, "the header length")
                                            : view.read<uint32_t>(8, "the header length");
  MOE_CHECK(header_size <= kMaxHeaderBytes, view.what(), ": the header length is ", header_size,
            " bytes, at most ", kMaxHeaderBytes, " are allowed");
  const std::string_view text = view.text(8 + length_bytes, header_size, "the header");
  const NpyHeader header = HeaderParser(text, view.what()).parse();

  dtype_ = header.dtype;
  shape_ = header.shape;
  uint64_t data_bytes = uint64_t(dtype_bytes(dtype_));
  for (int i = 0; i < shape_.rank(); ++i)
    data_bytes =
        checked_mul(data_bytes, uint64_t(shape_[i]), str(view.what(), ": size of the array"));
  const uint64_t begin = 8 + length_bytes + header_size;
  MOE_CHECK(data_bytes == view.size() - begin, view.what(), ": ", dtype_name(dtype_), " ",
            shape_.text(), " takes ", data_bytes, " bytes, the file has ", view.size() - begin,
            " after its header; it is damaged or incomplete");
  bytes_ = view.slice(begin, data_bytes, "the array");
}

Tensor read_npy(const std::string& path) {
  const NpyFile file(path);
  const Tensor tensor = Tensor::empty(file.shape(), file.dtype());
  if (!file.bytes().empty()) std::memcpy(tensor.raw(), file.bytes().data(), file.bytes().size());
  return tensor;
}

void write_npy(Fs& fs, const std::string& path, const Tensor& tensor) {
  MOE_CHECK(tensor && tensor.layout() == Layout::row_major, "[npy] ", path,
            ": only a row-major tensor can be written");
  const std::string header = header_bytes(tensor);
  write_file_streaming(fs, path, [&](const ByteSink& sink) {
    sink(as_bytes(header));
    sink({tensor.raw(), size_t(tensor.stored_bytes())});
  });
}

}  // namespace moe
