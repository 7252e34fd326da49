// SPDX-License-Identifier: MIT
#include "moe/families/weights.h"

#include <set>

#include "moe/families/model_folder.h"
#include "moe/io/safetensors_folder.h"
#include "moe/nn/accounting.h"

namespace moe {
namespace {

// One tensor of a file, as rows along the output dimension.
struct Source {
  const SafetensorsFolder::Item* item;
  TensorPlace place;
};

std::string list_some(const std::vector<std::string>& names) {
  std::vector<std::string> some(names.begin(),
                                names.begin() + int64_t(std::min<size_t>(names.size(), 5)));
  return join(some, ", ") + (names.size() > 5 ? str(" and ", names.size() - 5, " more") : "");
}

// Tensors that carry no weights: rotary tables and causal masks of old files.
bool is_skippable(const std::string& name) {
  return ends_with(name, "rotary_emb.inv_freq") || ends_with(name, ".attn.bias") ||
         ends_with(name, ".attn.masked_bias");
}

Tensor transposed(const Tensor& t) {
  Tensor out = Tensor::empty({t.size(1), t.size(0)}, t.dtype());
  const int64_t rows = t.size(0), cols = t.size(1), bytes = dtype_bytes(t.dtype());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      std::memcpy(out.raw() + (c * rows + r) * bytes, t.raw() + (r * cols + c) * bytes,
                  size_t(bytes));
  return out;
}

// The shape the stored tensor must have for a piece of this shape.
Shape stored_shape(const TensorPlace& place, const Shape& piece) {
  Shape s;
  const int64_t rows = place.total_rows >= 0 ? place.total_rows : piece[0];
  if (place.transposed) return {piece[1], rows};
  s.push_back(rows);
  for (int i = 1; i < piece.rank(); ++i) s.push_back(piece[i]);
  return s;
}

// Reads a piece out of its place. The file's tensor was found; its shape is checked here.
Tensor read_place(const SafetensorsFolder& files, const Source& source, const Shape& piece,
                  DType dtype, std::vector<std::string>& problems) {
  const TensorPlace& place = source.place;
  const Shape want = stored_shape(place, piece), have = source.item->entry->shape();
  Shape inner = have;
  if (place.matrix >= 0) {
    inner = {};
    for (int i = 1; i < have.rank(); ++i) inner.push_back(have[i]);
  }
  if (!(inner == want) || (place.matrix >= 0 && place.matrix >= have[0])) {
    problems.push_back(str("'", place.name, "' is ", have.text(), ", wanted ",
                           place.matrix >= 0 ? "[E, ..] of " : "", want.text()));
    return Tensor::zeros(piece, dtype);
  }
  if (!is_floating(source.item->entry->dtype)) {
    problems.push_back(str("'", place.name, "' holds ", dtype_name(source.item->entry->dtype),
                           ", wanted F32, F16 or BF16"));
    return Tensor::zeros(piece, dtype);
  }
  Tensor t = files.tensor(place.name);
  if (place.matrix >= 0) t = t.rows(place.matrix, place.matrix + 1).reshape(want);
  if (place.transposed) t = transposed(t);
  if (place.total_rows >= 0) t = t.rows(place.begin, place.begin + piece[0]);
  return t.to(dtype);
}

}  // namespace

void check_weights_present(const std::string& folder, const ModelConfig& config,
                           const Family& family) {
  const SafetensorsFolder files(folder);
  double stored = 0;
  for (const SafetensorsFolder::Item& item : files.items())
    stored += double(item.entry->bytes) / double(dtype_bytes(item.entry->dtype));
  const double wanted = count_parameters(config).total;
  MOE_CHECK(stored >= wanted, "[weights] ", folder, ": config.json (", family.model_type,
            ") describes ", with_commas(int64_t(wanted)),
            " parameters, the safetensors files hold only ", with_commas(int64_t(stored)),
            " numbers; the download is incomplete or the two do not belong together");
}

void read_weights(const TransformerLM& model, const std::string& folder, const Family& family) {
  const SafetensorsFolder files(folder);
  std::vector<std::string> missing, problems, unexpected;
  std::set<std::string> used;
  auto read = [&](const std::string& piece_name, const Shape& shape, DType dtype) -> Tensor {
    const std::vector<TensorPlace> places = family.places(model.config(), piece_name);
    for (const TensorPlace& place : places)
      if (const SafetensorsFolder::Item* item = files.find(place.name)) {
        used.insert(place.name);
        return read_place(files, {item, place}, shape, dtype, problems);
      }
    missing.push_back(places.front().name);
    return {};
  };
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces)
      if (const Tensor t = read(piece.name, piece_shape(p, piece), p.var.dtype()))
        write_piece(p.var.value(), piece, t);
  for (const Buffer& b : model.buffers())
    if (const Tensor t = read(b.name, b.value.shape(), b.value.dtype()))
      std::memcpy(b.value.raw(), t.raw(), size_t(t.stored_bytes()));
  for (const SafetensorsFolder::Item& item : files.items()) {
    const std::string& name = item.entry->name;
    // A tied model may carry an equal copy of its head.
    const bool tied_head = model.config().tie_embeddings && name == "lm_head.weight";
    if (!used.contains(name) && !is_skippable(name) && !tied_head) unexpected.push_back(name);
  }
  std::vector<std::string> all;
  if (!missing.empty()) all.push_back("missing: " + list_some(missing));
  if (!problems.empty()) all.push_back(list_some(problems));
  if (!unexpected.empty()) all.push_back("unexpected: " + list_some(unexpected));
  MOE_CHECK(all.empty(), "[weights] ", folder, " (", family.model_type, "): ", join(all, "; "));
}

std::vector<TensorSource> model_tensors(const TransformerLM& model, const Family& family) {
  // Pieces that share a stored tensor (GPT-2's q, k, v) are joined along the output dimension, in
  // the order of their rows.
  struct Part {
    Parameter parameter;
    Piece piece;
    TensorPlace place;
  };
  std::vector<std::string> order;
  std::map<std::string, std::vector<Part>> parts;
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) {
      const TensorPlace place = family.places(model.config(), piece.name).front();
      if (!parts.contains(place.name)) order.push_back(place.name);
      parts[place.name].push_back({p, piece, place});
    }
  std::vector<TensorSource> out;
  for (const std::string& name : order) {
    const std::vector<Part>& joined = parts[name];
    const Shape first = piece_shape(joined[0].parameter, joined[0].piece);
    auto build = [joined, first] {
      if (joined.size() == 1 && !joined[0].place.transposed)
        return read_piece(joined[0].parameter.var.value(), joined[0].piece);
      const DType dtype = joined[0].parameter.var.dtype();
      Tensor all = Tensor::empty(joined.size() == 1  ? first
                                 : first.rank() == 2 ? Shape{joined[0].place.total_rows, first[1]}
                                                     : Shape{joined[0].place.total_rows},
                                 dtype);
      for (const Part& part : joined) {
        const Tensor t = read_piece(part.parameter.var.value(), part.piece);
        std::memcpy(all.rows(part.place.begin, part.place.begin + t.size(0)).raw(), t.raw(),
                    size_t(t.stored_bytes()));
      }
      return joined[0].place.transposed ? transposed(all) : all;
    };
    out.push_back({.name = name,
                   .dtype = joined[0].parameter.var.dtype(),
                   .shape = stored_shape(joined[0].place, first),
                   .content = [build](const ByteSink& sink) {
                     const Tensor t = build();
                     sink({t.raw(), size_t(t.stored_bytes())});
                   }});
  }
  for (const Buffer& b : model.buffers())
    out.push_back(tensor_source(family.places(model.config(), b.name).front().name, b.value));
  return out;
}

}  // namespace moe
