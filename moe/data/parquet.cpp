// SPDX-License-Identifier: MIT
#include "moe/data/parquet.h"

#include <cstring>

#include "moe/base/compress.h"
#include "moe/base/error.h"
#include "moe/base/str.h"

namespace moe {
namespace {

constexpr std::string_view kMagic = "PAR1", kEncrypted = "PARE";

/// Bytes that are taken from the front, with a check of each step.
class Input {
 public:
  Input(std::string_view bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  std::string_view take(uint64_t n) {
    MOE_CHECK(n <= bytes_.size(), what_, ": the file ends too early, or a length in it is wrong");
    const std::string_view out = bytes_.substr(0, size_t(n));
    bytes_.remove_prefix(size_t(n));
    return out;
  }
  uint8_t byte() { return uint8_t(take(1)[0]); }
  uint32_t u32() {
    uint32_t out = 0;
    std::memcpy(&out, take(4).data(), 4);
    return out;
  }
  uint64_t varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t b = byte();
      out |= uint64_t(b & 0x7F) << shift;
      if (b < 0x80) return out;
    }
    throw Error(what_ + ": a number of more than 64 bits");
  }
  int64_t zigzag() {
    const uint64_t n = varint();
    return int64_t(n >> 1) ^ -int64_t(n & 1);
  }
  size_t left() const { return bytes_.size(); }
  std::string_view rest() const { return bytes_; }
  const std::string& what() const { return what_; }

 private:
  std::string_view bytes_;
  const std::string& what_;
};

/// A value of Thrift's compact protocol.
struct Thrift {
  int64_t number = 0;
  std::string_view bytes = {};
  std::vector<Thrift> items = {};
  std::vector<std::pair<int64_t, Thrift>> fields = {};

  const Thrift* field(int64_t id) const {
    for (const auto& [key, value] : fields)
      if (key == id) return &value;
    return nullptr;
  }
  int64_t number_of(int64_t id, int64_t otherwise) const {
    const Thrift* value = field(id);
    return value ? value->number : otherwise;
  }
};

Thrift read_value(Input& in, int type, int depth);

Thrift read_struct(Input& in, int depth) {
  Thrift out;
  int64_t id = 0;
  for (;;) {
    const uint8_t head = in.byte();
    if (head == 0) return out;
    id = head >> 4 != 0 ? id + (head >> 4) : in.zigzag();
    out.fields.emplace_back(id, read_value(in, head & 15, depth + 1));
  }
}

Thrift read_value(Input& in, int type, int depth) {
  MOE_CHECK(depth < 32, in.what(), ": its description is nested too deep");
  Thrift out;
  switch (type) {
    case 1: out.number = 1; return out;
    case 2: return out;
    case 3: out.number = int8_t(in.byte()); return out;
    case 4:
    case 5:
    case 6: out.number = in.zigzag(); return out;
    case 7: in.take(8); return out;
    case 8: out.bytes = in.take(in.varint()); return out;
    case 9:
    case 10: {
      const uint8_t head = in.byte();
      const uint64_t n = head >> 4 == 15 ? in.varint() : head >> 4;
      MOE_CHECK(n <= in.left(), in.what(), ": a list is longer than the file");
      for (uint64_t i = 0; i < n; ++i) {
        // A boolean in a list takes a byte of its own.
        if ((head & 15) <= 2)
          out.items.push_back({.number = in.byte() == 1});
        else
          out.items.push_back(read_value(in, head & 15, depth + 1));
      }
      return out;
    }
    case 11: {
      const uint64_t n = in.varint();
      MOE_CHECK(n <= in.left(), in.what(), ": a map is longer than the file");
      if (n == 0) return out;
      const uint8_t types = in.byte();
      for (uint64_t i = 0; i < 2 * n; ++i)
        read_value(in, i % 2 == 0 ? types >> 4 : types & 15, depth + 1);
      return out;
    }
    case 12: return read_struct(in, depth + 1);
    default: throw Error(str(in.what(), ": a field of the unknown type ", type));
  }
}

/// Levels and dictionary indices: runs of one value, or groups of 8 packed ones.
class Hybrid {
 public:
  Hybrid(std::string_view bytes, int width, const std::string& what)
      : in_(bytes, what), width_(width) {
    MOE_CHECK(width >= 0 && width <= 32, what, ": values of ", width, " bits");
  }
  uint32_t next() {
    if (width_ == 0) return 0;
    if (run_ == 0 && packed_ == 0) {
      const uint64_t head = in_.varint();
      if (head & 1) {
        packed_ = (head >> 1) * 8;
        bit_ = 0;
        MOE_CHECK(packed_ > 0, in_.what(), ": a run of no values");
      } else {
        run_ = head >> 1;
        MOE_CHECK(run_ > 0, in_.what(), ": a run of no values");
        value_ = 0;
        const std::string_view bytes = in_.take(uint64_t(width_ + 7) / 8);
        std::memcpy(&value_, bytes.data(), bytes.size());
      }
    }
    if (run_ > 0) {
      --run_;
      return value_;
    }
    --packed_;
    uint32_t out = 0;
    for (int i = 0; i < width_; ++i, ++bit_) {
      if (bit_ % 8 == 0) byte_ = in_.byte();
      out |= uint32_t(byte_ >> (bit_ % 8) & 1) << i;
    }
    return out;
  }

 private:
  Input in_;
  int width_;
  uint64_t run_ = 0, packed_ = 0, bit_ = 0;
  uint32_t value_ = 0;
  uint8_t byte_ = 0;
};

std::string codec_name(int64_t codec) {
  const char* const names[] = {"none",   "Snappy", "gzip",      "LZO",
                               "Brotli", "LZ4",    "Zstandard", "LZ4"};
  return codec >= 0 && codec < 8 ? names[codec] : str(codec);
}

class TextColumn {
 public:
  TextColumn(std::string_view file, bool optional, uint64_t max_bytes, const std::string& what)
      : file_(file), optional_(optional), max_bytes_(max_bytes), what_(what) {}

  void read_chunk(const Thrift& meta) {
    const int64_t n_values = meta.number_of(5, -1), data = meta.number_of(9, -1),
                  dictionary = meta.number_of(11, 0);
    codec_ = meta.number_of(4, 0);
    MOE_CHECK(codec_ == 0 || codec_ == 1 || codec_ == 2 || codec_ == 6, what_, ": compressed with ",
              codec_name(codec_), "; Snappy, gzip and Zstandard are read");
    const int64_t begin = dictionary > 0 && dictionary < data ? dictionary : data;
    MOE_CHECK(n_values >= 0 && begin >= 4 && uint64_t(begin) < file_.size(), what_,
              ": a column begins outside of the file");
    Input in(file_.substr(size_t(begin)), what_);
    dictionary_.clear();
    const size_t before = rows_.size();
    while (int64_t(rows_.size() - before) < n_values)
      read_page(in, uint64_t(n_values) - (rows_.size() - before));
  }
  std::vector<std::optional<std::string>> finish() { return std::move(rows_); }

 private:
  std::string expand(std::string_view bytes, uint64_t size) const {
    MOE_CHECK(size <= max_bytes_, what_, ": a page claims ", human_bytes(size));
    std::string out = codec_ == 0   ? std::string(bytes)
                      : codec_ == 1 ? snappy_decompress(bytes, size, what_)
                                    : decompress(bytes, size, what_);
    MOE_CHECK(out.size() == size, what_, ": a page holds ", out.size(), " bytes, not ", size);
    return out;
  }
  void read_page(Input& in, uint64_t n_left) {
    const Thrift head = read_struct(in, 0);
    const int64_t type = head.number_of(1, -1), size = head.number_of(2, -1),
                  stored = head.number_of(3, -1);
    MOE_CHECK(size >= 0 && stored >= 0, what_, ": a page of a negative size");
    const std::string_view body = in.take(uint64_t(stored));
    if (type == 2) {
      const Thrift* about = head.field(7);
      MOE_CHECK(about && dictionary_.empty(), what_, ": a dictionary page where there is none");
      read_dictionary(expand(body, uint64_t(size)), about->number_of(1, -1));
    } else if (type == 0) {
      const Thrift* about = head.field(5);
      MOE_CHECK(about, what_, ": a data page without its header");
      read_data_v1(expand(body, uint64_t(size)), about->number_of(1, -1), about->number_of(2, -1),
                   n_left);
    } else if (type == 3) {
      const Thrift* about = head.field(8);
      MOE_CHECK(about, what_, ": a data page without its header");
      read_data_v2(body, uint64_t(size), *about, n_left);
    }  // an index: skipped
  }
  void read_dictionary(const std::string& page, int64_t n) {
    Input in(page, what_);
    MOE_CHECK(n >= 0 && uint64_t(n) <= page.size() / 4, what_, ": a dictionary of ", n,
              " texts in ", page.size(), " bytes");
    for (int64_t i = 0; i < n; ++i) dictionary_.emplace_back(in.take(in.u32()));
  }
  void check_count(int64_t n, uint64_t n_left) const {
    MOE_CHECK(n >= 0 && uint64_t(n) <= n_left, what_, ": a page of ", n, " values where ", n_left,
              " are left");
    MOE_CHECK(n > 0 || n_left == 0, what_, ": a page without values");
  }
  void read_data_v1(const std::string& page, int64_t n, int64_t encoding, uint64_t n_left) {
    check_count(n, n_left);
    Input in(page, what_);
    std::string_view levels;
    if (optional_) levels = in.take(in.u32());
    read_values(in, levels, n, encoding);
  }
  void read_data_v2(std::string_view body, uint64_t size, const Thrift& about, uint64_t n_left) {
    const int64_t n = about.number_of(1, -1), n_definition = about.number_of(5, 0),
                  n_repetition = about.number_of(6, 0);
    check_count(n, n_left);
    MOE_CHECK(n_definition >= 0 && n_repetition >= 0, what_, ": levels of a negative size");
    Input in(body, what_);
    in.take(uint64_t(n_repetition));
    const std::string_view levels = in.take(uint64_t(n_definition));
    const uint64_t n_levels = uint64_t(n_repetition) + uint64_t(n_definition);
    MOE_CHECK(n_levels <= size, what_, ": levels longer than their page");
    const Thrift* compressed = about.field(7);
    const bool plain = (compressed && compressed->number == 0) || codec_ == 0;
    const std::string values = plain            ? std::string(in.rest())
                               : in.left() == 0 ? std::string()
                                                : expand(in.rest(), size - n_levels);
    Input rest(values, what_);
    read_values(rest, levels, n, about.number_of(4, -1));
  }
  void read_values(Input& in, std::string_view levels, int64_t n, int64_t encoding) {
    const bool from_dictionary = encoding == 2 || encoding == 8;
    MOE_CHECK(encoding == 0 || from_dictionary, what_, ": values in encoding ", encoding,
              "; plain and dictionary are read");
    Hybrid definition(levels, optional_ ? 1 : 0, what_);
    const int width = from_dictionary && in.left() > 0 ? in.byte() : 0;
    Hybrid indices(from_dictionary ? in.rest() : std::string_view(), width, what_);
    for (int64_t i = 0; i < n; ++i) {
      if (optional_ && definition.next() == 0) {
        add(std::nullopt);
      } else if (from_dictionary) {
        const uint32_t index = indices.next();
        MOE_CHECK(index < dictionary_.size(), what_, ": text ", index, " of a dictionary of ",
                  dictionary_.size());
        add(dictionary_[index]);
      } else {
        add(std::string(in.take(in.u32())));
      }
    }
  }
  void add(std::optional<std::string> text) {
    used_ += sizeof(text) + (text ? text->size() : 0);
    MOE_CHECK(used_ <= max_bytes_, what_, ": its rows take more than ", human_bytes(max_bytes_));
    rows_.push_back(std::move(text));
  }

  std::string_view file_;
  bool optional_;
  uint64_t max_bytes_, used_ = 0;
  const std::string& what_;
  int64_t codec_ = 0;
  std::vector<std::string> dictionary_;
  std::vector<std::optional<std::string>> rows_;
};

}  // namespace

bool is_parquet(std::string_view bytes) {
  return starts_with(bytes, kMagic) || starts_with(bytes, kEncrypted);
}

std::vector<std::optional<std::string>> read_parquet_text(std::string_view bytes,
                                                          const std::string& column,
                                                          uint64_t max_bytes,
                                                          const std::string& what) {
  MOE_CHECK(bytes.size() >= 12 && starts_with(bytes, kMagic), what,
            starts_with(bytes, kEncrypted) ? ": the file is encrypted"
                                           : ": no Parquet file, or cut short; fetch it again");
  MOE_CHECK(ends_with(bytes, kMagic), what,
            ends_with(bytes, kEncrypted) ? ": the file is encrypted"
                                         : ": the file has no end; it was cut off");
  uint32_t n_footer = 0;
  std::memcpy(&n_footer, bytes.data() + bytes.size() - 8, 4);
  MOE_CHECK(n_footer <= bytes.size() - 12, what, ": its description claims ", n_footer,
            " bytes, the file has ", bytes.size());
  Input in(bytes.substr(bytes.size() - 8 - n_footer, n_footer), what);
  const Thrift footer = read_struct(in, 0);
  const Thrift *schema = footer.field(2), *groups = footer.field(4);
  MOE_CHECK(schema && !schema->items.empty() && groups, what, ": no schema in its description");

  // The columns at the top: an element with children is followed by them.
  const Thrift* found = nullptr;
  std::vector<std::string> names;
  size_t at = 1;
  for (int64_t c = 0; c < schema->items[0].number_of(5, 0) && at < schema->items.size(); ++c) {
    const Thrift& element = schema->items[at];
    const Thrift* name = element.field(4);
    names.emplace_back(name ? name->bytes : "?");
    if (names.back() == column) found = &element;
    uint64_t inside = 1;  // elements of this one that follow, itself included
    while (inside > 0 && at < schema->items.size()) {
      inside += uint64_t(std::max<int64_t>(0, schema->items[at].number_of(5, 0))) - 1;
      ++at;
    }
  }
  MOE_CHECK(found, what, ": no column '", column, "'; there are ",
            printable(join(names, ", "), 200));
  const int64_t repetition = found->number_of(3, 0);
  MOE_CHECK(found->number_of(5, 0) == 0 && found->number_of(1, -1) == 6 && repetition != 2, what,
            ": the column '", column, "' holds no plain texts");

  TextColumn out(bytes, repetition == 1, max_bytes, what);
  for (const Thrift& group : groups->items) {
    const Thrift* chunks = group.field(1);
    MOE_CHECK(chunks, what, ": a row group without columns");
    const Thrift* meta = nullptr;
    for (const Thrift& chunk : chunks->items) {
      const Thrift* its = chunk.field(3);
      const Thrift* path = its ? its->field(3) : nullptr;
      if (path && path->items.size() == 1 && path->items[0].bytes == column) meta = its;
    }
    MOE_CHECK(meta, what, ": a row group without the column '", column, "'");
    out.read_chunk(*meta);
  }
  return out.finish();
}

}  // namespace moe
