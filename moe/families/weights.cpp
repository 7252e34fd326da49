// SPDX-License-Identifier: MIT
#include "moe/families/weights.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "moe/base/parallel.h"
#include "moe/families/model_folder.h"
#include "moe/io/safetensors_folder.h"
#include "moe/nn/accounting.h"

namespace moe {
namespace {

// The first few; names come from the file.
std::string list_some(const std::vector<std::string>& lines) {
  std::vector<std::string> some;
  for (size_t i = 0; i < std::min<size_t>(lines.size(), 5); ++i)
    some.push_back(printable(lines[i], 160));
  return join(some, ", ") + (lines.size() > 5 ? str(" and ", lines.size() - 5, " more") : "");
}

// A count that a hostile config.json may have driven beyond any integer.
std::string count_text(double n) { return n < 1e15 ? with_commas(int64_t(n)) : str(n); }

// Tensors that carry no weights: rotary tables and causal masks of old files.
bool is_skippable(const std::string& name) {
  return ends_with(name, "rotary_emb.inv_freq") || ends_with(name, ".attn.bias") ||
         ends_with(name, ".attn.masked_bias");
}

// What a router keeps beside its matrix: a selection bias, a controller's state.
bool is_router_buffer(const std::string& name) {
  return name.find(".gate.") != std::string::npos && !ends_with(name, ".weight") &&
         !ends_with(name, ".bias");
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

// The part of a stored tensor that a piece is, in the file's type. Only that part is copied: a
// stack of experts is read once, not once per expert.
Tensor copy_part(const SafetensorsFolder::Item& item, const TensorPlace& place,
                 const Shape& piece) {
  const Shape stored = stored_shape(place, piece);
  const Tensor out = Tensor::empty(piece, item.entry->dtype);
  const int64_t size = dtype_bytes(out.dtype()), rows = piece[0], cols = piece.numel() / piece[0];
  const std::byte* from = item.file->bytes(*item.entry).data() +
                          std::max<int64_t>(0, place.matrix) * stored.numel() * size;
  if (!place.transposed) {
    std::memcpy(out.raw(), from + place.begin * cols * size, size_t(out.stored_bytes()));
    return out;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      std::memcpy(out.raw() + (r * cols + c) * size,
                  from + (c * stored[1] + place.begin + r) * size, size_t(size));
  return out;
}

// Whether the file's tensor, which was found, has the shape and a type that the place wants.
bool fits(const SafetensorsFolder::Item& item, const TensorPlace& place, const Shape& piece,
          std::vector<std::string>& problems) {
  Shape want = stored_shape(place, piece);
  if (place.matrix >= 0) {
    const Shape one = want;
    want = {place.n_matrices};
    for (int i = 0; i < one.rank(); ++i) want.push_back(one[i]);
  }
  if (item.entry->shape_text() != want.text()) {
    problems.push_back(
        str("'", place.name, "' is ", item.entry->shape_text(), ", wanted ", want.text()));
    return false;
  }
  if (!is_floating(item.entry->dtype)) {
    problems.push_back(str("'", place.name, "' holds ", dtype_name(item.entry->dtype),
                           ", wanted F32, F16 or BF16"));
    return false;
  }
  return true;
}

// transformers ties the head whatever the file holds; a different one would be dropped in silence.
void check_tied_head(const SafetensorsFolder& files, const std::string& embedding,
                     std::vector<std::string>& problems) {
  const SafetensorsFolder::Item *head = files.find("lm_head.weight"),
                                *table = files.find(embedding);
  if (!head || !table) return;
  const auto a = head->file->bytes(*head->entry), b = table->file->bytes(*table->entry);
  if (head->entry->dtype != table->entry->dtype ||
      !std::equal(a.begin(), a.end(), b.begin(), b.end()))
    problems.push_back(str("'lm_head.weight' differs from '", embedding,
                           "', but config.json says tie_word_embeddings"));
}

}  // namespace

void check_weights_present(const std::string& folder, const ModelConfig& config,
                           const Family& family) {
  const SafetensorsFolder files(folder);
  double stored = 0, file_bytes = 0;
  for (const SafetensorsFolder::Item& item : files.items()) {
    stored += double(item.entry->bytes) / double(dtype_bytes(item.entry->dtype));
    file_bytes += double(item.entry->bytes);
  }
  const ParameterCount wanted = count_parameters(config);
  MOE_CHECK(stored >= wanted.total, "[weights] ", folder, ": config.json (", family.model_type,
            ") describes ", count_text(wanted.total),
            " parameters, the safetensors files hold only ", count_text(stored),
            " numbers; the download is incomplete or the two do not belong together");
  // Matrices of one or two rows are padded to 16 in memory; a model of nothing else is no model.
  const double memory = wanted.stored * double(sizeof(float));
  MOE_CHECK(memory <= 4 * file_bytes + double(1 << 20), "[weights] ", folder, ": config.json (",
            family.model_type, ") describes matrices that need ", count_text(memory),
            " bytes of memory for ", count_text(file_bytes),
            " bytes of weights; its sizes are not those of a language model");
}

void check_weights_match(const std::string& folder, const ModelConfig& config,
                         const Family& family) {
  check_weights_present(folder, config, family);
  const SafetensorsFolder files(folder);
  double stored = 0;
  for (const SafetensorsFolder::Item& item : files.items()) {
    const std::string& name = item.entry->name;
    const bool is_parameter = !is_skippable(name) && !is_router_buffer(name) &&
                              !(config.tie_embeddings && name == "lm_head.weight");
    if (is_parameter) stored += double(item.entry->bytes) / double(dtype_bytes(item.entry->dtype));
  }
  const double wanted = count_parameters(config).total;
  MOE_CHECK(stored == wanted, "[weights] ", folder, ": config.json (", family.model_type,
            ") describes ", count_text(wanted), " parameters, the safetensors files hold ",
            count_text(stored), "; the two do not belong together");
}

void read_weights(const TransformerLM& model, const std::string& folder, const Family& family) {
  const SafetensorsFolder files(folder);
  std::vector<std::string> missing, problems, unexpected;
  std::set<std::string> used;
  // First where everything is, then the copies on all threads.
  struct Copy {
    const SafetensorsFolder::Item* item;
    TensorPlace place;
    Shape shape;
    Tensor to;
    std::optional<Piece> piece;  // null: the whole of `to`
  };
  std::vector<Copy> copies;
  auto find = [&](const std::string& name, const Shape& shape, const Tensor& to,
                  std::optional<Piece> piece) {
    const std::vector<TensorPlace> places = family.places(model.config(), name);
    for (const TensorPlace& place : places)
      if (const SafetensorsFolder::Item* item = files.find(place.name)) {
        used.insert(place.name);
        if (fits(*item, place, shape, problems))
          copies.push_back({item, place, shape, to, std::move(piece)});
        return;
      }
    missing.push_back(places.front().name);
  };
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces)
      find(piece.name, piece_shape(p, piece), p.var.value(), piece);
  for (const Buffer& b : model.buffers()) find(b.name, b.value.shape(), b.value, {});
  if (model.config().tie_embeddings)
    for (const TensorPlace& place : family.places(model.config(), "model.embed_tokens.weight"))
      check_tied_head(files, place.name, problems);
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
  parallel_for(int64_t(copies.size()), 1, [&](int64_t begin, int64_t end) {
    for (const Copy& c : std::span(copies).subspan(size_t(begin), size_t(end - begin))) {
      Tensor t = copy_part(*c.item, c.place, c.shape);
      if (t.dtype() != c.to.dtype()) t = t.to(c.to.dtype());
      if (c.piece)
        write_piece(c.to, *c.piece, t);
      else
        std::memcpy(c.to.raw(), t.raw(), size_t(t.stored_bytes()));
    }
  });
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
