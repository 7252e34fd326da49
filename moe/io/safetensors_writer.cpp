// SPDX-License-Identifier: MIT
// The safetensors writer (see safetensors_writer.h). Order and header text follow `prepare` and
// `serialize` of the library's tensor.rs; tests/golden/io holds files that the library wrote.
#include "moe/io/safetensors_writer.h"

#include <algorithm>
#include <array>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/str.h"
#include "moe/io/json_scanner.h"

namespace moe {
namespace {

constexpr size_t kMaxNameBytes = 256;
constexpr int64_t kPieceBytes = 1 << 20;

/// Position of the dtype in the library's enum, which is ordered by alignment; it sorts descending.
int library_order(DType dtype) {
  static constexpr std::array kDescending = {
      DType::u64, DType::i64, DType::f64, DType::f32, DType::u32, DType::i32,    DType::bf16,
      DType::f16, DType::u16, DType::i16, DType::i8,  DType::u8,  DType::boolean};
  return int(std::find(kDescending.begin(), kDescending.end(), dtype) - kDescending.begin());
}

std::string header_text(const std::vector<TensorSource>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  const auto begin_member = [&](std::string_view key) {
    if (header.size() > 1) header += ',';
    append_json_string(header, key);
    header += ':';
  };
  if (!metadata.empty()) {
    begin_member("__metadata__");
    char separator = '{';
    for (const auto& [key, value] : metadata) {
      header += separator;
      append_json_string(header, key);
      header += ':';
      append_json_string(header, value);
      separator = ',';
    }
    header += '}';
  }
  uint64_t offset = 0;
  for (const TensorSource& tensor : tensors) {
    begin_member(tensor.name);
    std::string sizes;
    for (int i = 0; i < tensor.shape.rank(); ++i) sizes += str(i ? "," : "", tensor.shape[i]);
    header += str("{\"dtype\":\"", dtype_name(tensor.dtype), "\",\"shape\":[", sizes,
                  "],\"data_offsets\":[", offset, ",", offset + tensor.bytes(), "]}");
    offset += tensor.bytes();
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

}  // namespace

TensorSource tensor_source(std::string name, const Tensor& tensor) {
  const auto push_rows = [tensor](const ByteSink& sink) {
    const int64_t rows = tensor.shape()[-2], cols = tensor.shape()[-1];
    const int64_t row_bytes = std::max<int64_t>(1, cols * dtype_bytes(tensor.dtype()));
    const int64_t rows_per_piece = std::max<int64_t>(1, kPieceBytes / row_bytes);
    for (int64_t e = 0; e < tensor.n_matrices(); ++e)
      for (int64_t row = 0; row < rows; row += rows_per_piece) {
        const Tensor piece = read_rows(tensor, e, row, std::min(rows_per_piece, rows - row));
        sink({piece.raw(), size_t(piece.stored_bytes())});
      }
  };
  const auto push_all = [tensor](const ByteSink& sink) {
    sink({tensor.raw(), size_t(tensor.stored_bytes())});
  };
  MOE_CHECK(tensor, "[safetensors] tensor '", printable(name), "' to be written is empty (null)");
  TensorSource source{
      .name = std::move(name), .dtype = tensor.dtype(), .shape = tensor.shape(), .content = {}};
  if (tensor.layout() == Layout::row_major)
    source.content = push_all;
  else
    source.content = push_rows;
  return source;
}

void write_safetensors(const ByteSink& sink, std::vector<TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorSource& a, const TensorSource& b) {
    const int x = library_order(a.dtype), y = library_order(b.dtype);
    return x != y ? x < y : a.name < b.name;
  });
  std::vector<std::string_view> names;
  for (const TensorSource& tensor : tensors) {
    MOE_CHECK(tensor.name.size() <= kMaxNameBytes && tensor.name != "__metadata__",
              "[safetensors] '", printable(tensor.name), "' cannot be the name of a tensor");
    names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  MOE_CHECK(twice == names.end(), "[safetensors] two tensors to be written are called '",
            printable(*twice), "'");

  const std::string header = header_text(tensors, metadata);
  const uint64_t header_bytes = header.size();
  sink(std::as_bytes(std::span(&header_bytes, 1)));
  sink(as_bytes(header));
  for (const TensorSource& tensor : tensors) {
    uint64_t pushed = 0;
    tensor.content([&](std::span<const std::byte> bytes) {
      pushed += bytes.size();
      MOE_CHECK(pushed <= tensor.bytes(), "[safetensors] tensor '", printable(tensor.name),
                "' pushed more than its ", tensor.bytes(), " bytes");
      sink(bytes);
    });
    MOE_CHECK(pushed == tensor.bytes(), "[safetensors] tensor '", printable(tensor.name),
              "' pushed ", pushed, " bytes of ", tensor.bytes());
  }
}

void write_safetensors(Fs& fs, const std::string& path, std::vector<TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_file_streaming(fs, path, [&](const ByteSink& sink) {
    write_safetensors(sink, std::move(tensors), metadata);
  });
}

}  // namespace moe
