// SPDX-License-Identifier: MIT
// Two passes over the text with Boost.JSON's event parser: the first checks the syntax and adds up
// the memory that the values will take, the second builds them at their exact size. A text that
// would take too much is refused before anything is allocated, and no container ever grows.
#include "moe/base/json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/mmap_file.h"
#include "moe/base/str.h"

namespace moe {
namespace {

using boost::json::error_code;
using View = boost::json::string_view;

constexpr size_t kMaxDepth = 64;

/// "line 3, column 14" of a byte; both count from 1, columns in bytes.
std::string place(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return str("line ", 1 + std::count(before.begin(), before.end(), '\n'), ", column ",
             1 + offset - line_start);
}

/// A string that arrives in parts. One that arrives whole, as almost all do, is not copied.
class Parts {
 public:
  void add(View part) {
    if (finished_) joined_.clear();
    finished_ = false;
    joined_.append(part.data(), part.size());
  }
  /// The whole string, valid until the next call.
  std::string_view finish(View last) {
    if (finished_ || joined_.empty()) return {last.data(), last.size()};
    add(last);
    finished_ = true;
    return joined_;
  }

 private:
  std::string joined_;
  bool finished_ = false;
};

/// Room for n members. Odd: the bucket is hash % capacity, and an even capacity would let a text
/// that chooses its keys fill one bucket (the low bits of Boost's hash do not depend on its salt),
/// which makes inserting quadratic.
size_t object_capacity(size_t n) { return n | 1; }

/// What both passes share; the members that Boost's parser asks of a handler.
struct HandlerBase {
  static constexpr size_t max_object_size = JsonObject::max_size();
  static constexpr size_t max_array_size = JsonArray::max_size();
  static constexpr size_t max_key_size = boost::json::string::max_size();
  static constexpr size_t max_string_size = boost::json::string::max_size();

  std::string problem;  // why the handler stopped the parser, "" when the syntax did

  bool stop(std::string why, error_code& ec) {
    problem = std::move(why);
    ec = boost::json::error::exception;
    return false;
  }
  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_number_part(View, error_code&) { return true; }
  bool on_comment_part(View, error_code&) { return true; }
  bool on_comment(View, error_code&) { return true; }
};

/// First pass: the number of children of each container, in the order they begin, and the memory of
/// the whole tree.
class Measure : public HandlerBase {
 public:
  explicit Measure(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  const std::vector<uint32_t>& n_children() const { return n_children_; }

  bool on_object_begin(error_code& ec) { return begin(ec); }
  bool on_array_begin(error_code& ec) { return begin(ec); }
  bool on_object_end(size_t n, error_code& ec) {
    return end(n, object_capacity(n) * kMemberBytes, ec);
  }
  bool on_array_end(size_t n, error_code& ec) { return end(n, n * sizeof(Json), ec); }
  bool on_key_part(View, size_t n, error_code& ec) { return join(n, ec); }
  bool on_key(View, size_t n, error_code& ec) { return add(block(n + 1), ec); }
  bool on_string_part(View, size_t n, error_code& ec) { return join(n, ec); }
  bool on_string(View, size_t n, error_code& ec) {
    return add(n <= kInlineChars ? 0 : block(std::max(n, kMinChars) + 9), ec);
  }
  bool on_int64(int64_t, View, error_code&) { return true; }
  bool on_uint64(uint64_t, View, error_code&) { return true; }
  bool on_double(double, View, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }

 private:
  // Boost.JSON 1.81: a large object has one 4-byte bucket per member beside the members; containers
  // have a header of 16 bytes; a string is held in its value up to 14 characters, else in a block
  // with a header of 8 bytes and a final zero.
  static constexpr size_t kMemberBytes = sizeof(boost::json::key_value_pair) + 4;
  static constexpr size_t kHeaderBytes = 16, kInlineChars = 14, kMinChars = 28;

  /// What malloc takes for n bytes: blocks of 24, 40, 56 ... bytes behind a word of 8.
  static uint64_t block(uint64_t n) { return n <= 24 ? 24 : (n + 23) / 16 * 16 - 8; }

  bool add(uint64_t bytes, error_code& ec) {
    bytes_ += bytes;
    if (bytes_ + 3 * longest_joined_ <= max_bytes_) return true;
    return stop(str("needs more than ", max_bytes_, " bytes of memory, too large for its text"),
                ec);
  }
  /// A string of n bytes so far that comes in parts: Build joins it in one buffer, which doubles
  /// (1x old and 2x new).
  bool join(size_t n, error_code& ec) {
    longest_joined_ = std::max<uint64_t>(longest_joined_, n);
    return add(0, ec);
  }
  bool begin(error_code& ec) {
    open_.push_back(n_children_.size());
    n_children_.push_back(0);
    return add(2 * sizeof(uint32_t), ec);  // the vector of counts doubles
  }
  bool end(size_t n, uint64_t bytes, error_code& ec) {
    n_children_[open_.back()] = static_cast<uint32_t>(n);
    open_.pop_back();
    return add(n == 0 ? 0 : block(kHeaderBytes + bytes), ec);
  }

  uint64_t max_bytes_, bytes_ = 0, longest_joined_ = 0;
  std::vector<uint32_t> n_children_;
  std::vector<size_t> open_;  // places in n_children_ of the containers that have begun
};

/// Second pass: the values.
class Build : public HandlerBase {
 public:
  explicit Build(const std::vector<uint32_t>& n_children) : n_children_(n_children) {}
  Json take_root() { return std::move(root_); }

  bool on_object_begin(error_code&) {
    JsonObject object;
    if (const size_t n = n_children_[next_container_++]; n > 0) object.reserve(object_capacity(n));
    open_.push_back({std::move(object), {}});
    return true;
  }
  bool on_array_begin(error_code&) {
    JsonArray array;
    array.reserve(n_children_[next_container_++]);
    open_.push_back({std::move(array), {}});
    return true;
  }
  bool on_object_end(size_t, error_code&) { return close(); }
  bool on_array_end(size_t, error_code&) { return close(); }
  bool on_key_part(View part, size_t, error_code&) {
    parts_.add(part);
    return true;
  }
  bool on_key(View last, size_t, error_code& ec) {
    // The member is made here with a null value, so that the key is copied once.
    const std::string_view key = parts_.finish(last);
    Open& open = open_.back();
    const auto [member, is_new] =
        open.container.get_object().emplace(View(key.data(), key.size()), nullptr);
    if (!is_new)
      return stop(str("the key \"", printable(key, 60), "\" occurs twice in one object"), ec);
    open.member = &member->value();
    return true;
  }
  bool on_string_part(View part, size_t, error_code&) {
    parts_.add(part);
    return true;
  }
  bool on_string(View last, size_t, error_code&) {
    const std::string_view text = parts_.finish(last);
    place_value(Json(View(text.data(), text.size())));
    return true;
  }
  bool on_number_part(View part, error_code&) {
    parts_.add(part);
    return true;
  }
  bool on_int64(int64_t i, View last, error_code&) {
    parts_.finish(last);
    place_value(Json(i));
    return true;
  }
  bool on_uint64(uint64_t u, View last, error_code&) {
    parts_.finish(last);
    place_value(Json(u));
    return true;
  }
  bool on_double(double, View last, error_code& ec) {
    // Boost 1.81's own conversion may be off in the last place; from_chars rounds correctly.
    const std::string_view text = parts_.finish(last);
    double value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status == std::errc::result_out_of_range)
      value = std::strtod(std::string(text).c_str(), nullptr);
    if (!std::isfinite(value))
      return stop(str("the number ", printable(text, 40), " is too large for a double"), ec);
    place_value(Json(value));
    return true;
  }
  bool on_bool(bool b, error_code&) {
    place_value(Json(b));
    return true;
  }
  bool on_null(error_code&) {
    place_value(Json(nullptr));
    return true;
  }

 private:
  struct Open {
    Json container;
    Json* member;  // of an object: the value that comes next
  };
  void place_value(Json&& value) {
    if (open_.empty())
      root_ = std::move(value);
    else if (open_.back().container.is_object())
      *open_.back().member = std::move(value);
    else
      open_.back().container.get_array().push_back(std::move(value));
  }
  bool close() {
    Json container = std::move(open_.back().container);
    open_.pop_back();
    place_value(std::move(container));
    return true;
  }

  const std::vector<uint32_t>& n_children_;
  size_t next_container_ = 0;
  std::vector<Open> open_;
  Parts parts_;
  Json root_;
};

template <class Handler>
void run_pass(boost::json::basic_parser<Handler>& parser, std::string_view text,
              const std::string& what) {
  error_code ec;
  const size_t end = parser.write_some(false, text.data(), text.size(), ec);
  const auto fail = [&](std::string_view why) {
    throw Error(str(what, ": ", place(text, end), ": ", why));
  };
  if (!parser.handler().problem.empty()) fail(parser.handler().problem);
  if (ec == boost::json::error::too_deep) fail(str("nested deeper than ", kMaxDepth));
  if (ec == boost::json::error::incomplete)
    fail("the text ends too early; it is damaged or incomplete");
  if (ec) fail(str(ec.message(), ", found \"", printable(text.substr(end, 20), 20), '"'));
  if (end != text.size()) fail("text after the end of the JSON value");
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what, uint64_t memory_per_byte) {
  if (const size_t bad = first_invalid_utf8(text); bad != std::string_view::npos)
    throw Error(str(what, ": ", place(text, bad), ": not valid UTF-8"));
  // n_children_ counts in 32 bits; no file of ours comes near.
  MOE_CHECK(text.size() < uint64_t{1} << 32, what, ": ", text.size(),
            " bytes of JSON, more than the 4 GiB that are read");
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  const uint64_t max_bytes = memory_per_byte * text.size() + (uint64_t{1} << 20);
  boost::json::basic_parser<Measure> measure(options, max_bytes);
  run_pass(measure, text, what);
  boost::json::basic_parser<Build> build(options, measure.handler().n_children());
  run_pass(build, text, what);
  return build.handler().take_root();
}

Json read_json(const std::string& path, const std::string& what) {
  const MmapFile file(path);  // mapped: the text beside the values would be a fifth times the file
  return parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                    what);
}

}  // namespace moe
