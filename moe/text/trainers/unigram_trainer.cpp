// SPDX-License-Identifier: MIT
#include "moe/text/trainers/unigram_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "moe/base/error.h"
#include "moe/base/parallel.h"
#include "moe/base/utf8.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == -std::numeric_limits<double>::infinity() ? a : a + std::log1p(std::exp(b - a));
}

/// The logarithm's derivative of the gamma function, for x > 0.
double digamma(double x) {
  double result = 0;
  for (; x < 7; ++x) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
  return result + std::log(x) + (1.0 / 24) * xx2 - (7.0 / 960) * xx4 + (31.0 / 8064) * xx4 * xx2 -
         (127.0 / 30720) * xx4 * xx4;
}

bool is_character(std::string_view text) { return code_point_at(text, 0).size == text.size(); }

/// All frequent substrings, the single characters first; score: occurrences x characters.
std::vector<UnigramPiece> seeds(const UnigramTraining& t) {
  struct Substring {
    uint64_t count = 0;
    int32_t characters = 0;
    bool contained = false;  // always within the same longer one
  };
  const auto for_each_substring = [&](auto&& f) {
    for (const WordCount& word : t.words) {
      const std::string_view text = word.text;
      for (size_t begin = 0; begin < text.size(); begin += code_point_at(text, begin).size) {
        size_t end = begin;
        for (int32_t n = 1; n <= t.max_piece_length && end < text.size(); ++n) {
          end += code_point_at(text, end).size;
          f(text.substr(begin, end - begin), n, word.count);
        }
      }
    }
  };
  // Most substrings occur once and are no seeds: a table of small counts by hash, where a collision
  // only lets one through, keeps them out of the map.
  std::vector<uint8_t> seen(size_t{1} << 28);
  const auto slot = [&](std::string_view text) -> uint8_t& {
    return seen[hash_bytes(text) & (seen.size() - 1)];
  };
  for_each_substring([&](std::string_view text, int32_t, uint64_t count) {
    uint8_t& n = slot(text);
    n = static_cast<uint8_t>(std::min<uint64_t>(2, n + count));
  });
  std::unordered_map<std::string_view, Substring> found;
  for_each_substring([&](std::string_view text, int32_t n, uint64_t count) {
    if (n > 1 && slot(text) < 2) return;
    Substring& s = found[text];
    s.count += count;
    s.characters = n;
  });
  std::vector<uint8_t>().swap(seen);
  std::vector<UnigramPiece> characters, out;
  for (const auto& [text, s] : found) {
    if (s.characters < 2) continue;
    // Without its last character it would be no other seed.
    size_t shorter = text.size();
    do --shorter;
    while (shorter > 0 && (static_cast<uint8_t>(text[shorter]) & 0xC0) == 0x80);
    if (const auto of = found.find(text.substr(0, shorter));
        of != found.end() && of->second.count == s.count)
      of->second.contained = true;
  }
  for (const auto& [text, s] : found) {
    if (s.characters == 1)
      characters.push_back({std::string(text), double(s.count)});
    else if (s.count >= 2 && !s.contained)
      out.push_back({std::string(text), double(s.count) * s.characters});
  }
  const auto better = [](const UnigramPiece& a, const UnigramPiece& b) {
    return a.score != b.score ? a.score > b.score : a.text < b.text;
  };
  std::sort(characters.begin(), characters.end(), better);
  std::sort(out.begin(), out.end(), better);
  const auto room = static_cast<size_t>(std::max<int64_t>(0, t.n_seeds - std::ssize(characters)));
  if (out.size() > room) out.resize(room);
  characters.insert(characters.end(), out.begin(), out.end());
  double sum = 0;
  for (const UnigramPiece& p : characters) sum += p.score;
  for (UnigramPiece& p : characters) p.score = std::log(p.score) - std::log(sum);
  return characters;
}

/// Pieces in a trie, and what one word can be cut into.
class Lattice {
 public:
  explicit Lattice(const std::vector<UnigramPiece>& pieces) : pieces_(pieces) {
    for (size_t i = 0; i < pieces.size(); ++i) trie_.add(pieces[i].text, static_cast<int32_t>(i));
  }
  /// f(piece, begin, end) for each piece that lies in the word, by begin, then by end.
  template <class F>
  void for_each_piece(std::string_view word, F&& f) const {
    for (size_t begin = 0; begin < word.size(); begin += code_point_at(word, begin).size) {
      uint32_t node = 0;
      for (size_t i = begin; i < word.size(); ++i) {
        node = trie_.child(node, static_cast<uint8_t>(word[i]));
        if (node == 0) break;
        if (const int32_t piece = trie_.value(node); piece >= 0) f(piece, begin, i + 1);
      }
    }
  }
  /// Adds the expected uses of each piece in one word, times count; returns log p(word) x count.
  double expect(std::string_view word, double count, std::vector<double>& expected) const {
    constexpr double kNever = -std::numeric_limits<double>::infinity();
    std::vector<double> forward(word.size() + 1, kNever), backward(word.size() + 1, kNever);
    forward[0] = backward[word.size()] = 0;
    struct Edge {
      int32_t piece;
      size_t begin, end;
    };
    std::vector<Edge> edges;
    for_each_piece(word, [&](int32_t piece, size_t begin, size_t end) {
      edges.push_back({piece, begin, end});
    });
    for (const Edge& e : edges)
      forward[e.end] =
          log_add(forward[e.end], forward[e.begin] + pieces_[static_cast<size_t>(e.piece)].score);
    for (size_t k = edges.size(); k-- > 0;) {
      const Edge& e = edges[k];
      backward[e.begin] =
          log_add(backward[e.begin], backward[e.end] + pieces_[static_cast<size_t>(e.piece)].score);
    }
    const double z = forward[word.size()];
    if (!std::isfinite(z)) return 0;
    for (const Edge& e : edges)
      expected[static_cast<size_t>(e.piece)] +=
          count * std::exp(forward[e.begin] + pieces_[static_cast<size_t>(e.piece)].score +
                           backward[e.end] - z);
    return z * count;
  }
  /// The pieces of the best way to cut a text; without the piece `without`.
  std::vector<int32_t> best(std::string_view text, int32_t without = -1) const {
    struct Node {
      double score = -std::numeric_limits<double>::infinity();
      size_t begin = 0;
      int32_t piece = -1;
    };
    std::vector<Node> nodes(text.size() + 1);
    nodes[0].score = 0;
    for_each_piece(text, [&](int32_t piece, size_t begin, size_t end) {
      const double score = nodes[begin].score + pieces_[static_cast<size_t>(piece)].score;
      if (piece != without && score > nodes[end].score) nodes[end] = {score, begin, piece};
    });
    std::vector<int32_t> out;
    if (nodes[text.size()].piece < 0) return out;
    for (size_t end = text.size(); end > 0; end = nodes[end].begin) out.push_back(nodes[end].piece);
    std::reverse(out.begin(), out.end());
    return out;
  }

 private:
  const std::vector<UnigramPiece>& pieces_;
  Trie trie_;
};

// Words are cut into ranges of a fixed number, summed range by range in their order: no result
// depends on the number of threads.
constexpr int64_t kWordsOfARange = 2048;

/// f(sums of this range, begin, end) for ranges of words, sums added in order.
template <class F>
std::vector<double> sum_over_words(size_t n_words, size_t n_sums, F&& f) {
  const int64_t n_ranges = (static_cast<int64_t>(n_words) + kWordsOfARange - 1) / kWordsOfARange;
  std::vector<double> sums(n_sums);
  const int64_t at_once = 4 * n_threads();
  for (int64_t first = 0; first < n_ranges; first += at_once) {
    const int64_t n = std::min(at_once, n_ranges - first);
    std::vector<std::vector<double>> parts(static_cast<size_t>(n), std::vector<double>(n_sums));
    parallel_for(n, 1, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const int64_t begin = (first + r) * kWordsOfARange,
                      end =
                          std::min<int64_t>(begin + kWordsOfARange, static_cast<int64_t>(n_words));
        f(parts[static_cast<size_t>(r)], begin, end);
      }
    });
    for (const std::vector<double>& part : parts)
      for (size_t i = 0; i < n_sums; ++i) sums[i] += part[i];
  }
  return sums;
}

/// One turn: expected uses, then their Bayesian maximisation (digamma), which lets rare pieces go.
std::vector<UnigramPiece> improve(const std::vector<UnigramPiece>& pieces,
                                  const std::vector<WordCount>& words) {
  const Lattice lattice(pieces);
  const std::vector<double> expected = sum_over_words(
      words.size(), pieces.size(), [&](std::vector<double>& sums, int64_t begin, int64_t end) {
        for (int64_t w = begin; w < end; ++w)
          lattice.expect(words[static_cast<size_t>(w)].text,
                         double(words[static_cast<size_t>(w)].count), sums);
      });
  constexpr double kRare = 0.5;
  std::vector<UnigramPiece> out;
  double sum = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (expected[i] < kRare && !is_character(pieces[i].text)) continue;
    const double n = std::max(expected[i], kRare);
    out.push_back({pieces[i].text, n});
    sum += n;
  }
  const double log_sum = digamma(sum);
  for (UnigramPiece& p : out) p.score = digamma(p.score) - log_sum;
  return out;
}

/// Drops the pieces without which the likelihood loses least.
std::vector<UnigramPiece> prune(std::vector<UnigramPiece> pieces, const UnigramTraining& t,
                                size_t wanted) {
  const Lattice lattice(pieces);
  // What each piece is cut into without itself; a piece that is not its own best cut is of no use.
  std::vector<std::vector<int32_t>> other(pieces.size());
  std::vector<char> useful(pieces.size(), 1);
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (is_character(pieces[i].text)) continue;
    const std::vector<int32_t> own = lattice.best(pieces[i].text);
    useful[i] = own.size() == 1 && own[0] == static_cast<int32_t>(i);
    other[i] = lattice.best(pieces[i].text, static_cast<int32_t>(i));
  }
  const std::vector<double> uses = sum_over_words(
      t.words.size(), pieces.size(), [&](std::vector<double>& sums, int64_t begin, int64_t end) {
        for (int64_t w = begin; w < end; ++w)
          for (const int32_t piece : lattice.best(t.words[static_cast<size_t>(w)].text))
            sums[static_cast<size_t>(piece)] += double(t.words[static_cast<size_t>(w)].count);
      });
  double all = 0;
  for (const double n : uses) all += n;
  struct Loss {
    double loss;
    size_t piece;
  };
  std::vector<Loss> losses;
  std::vector<UnigramPiece> out;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (is_character(pieces[i].text)) {
      out.push_back(pieces[i]);
      continue;
    }
    if (uses[i] == 0 || !useful[i]) continue;
    if (other[i].empty()) {
      out.push_back(pieces[i]);
      continue;
    }
    // Its uses go to the pieces of its other cut.
    const double with = std::log(uses[i]) - std::log(all);
    const double all_without = std::log(all + uses[i] * double(other[i].size() - 1));
    double without = 0;
    for (const int32_t piece : other[i])
      without += std::log(uses[static_cast<size_t>(piece)] + uses[i]) - all_without;
    losses.push_back({uses[i] / all * (with - without), i});
  }
  std::sort(losses.begin(), losses.end(), [](const Loss& a, const Loss& b) {
    return a.loss != b.loss ? a.loss > b.loss : a.piece < b.piece;
  });
  const auto keep =
      std::max(wanted, static_cast<size_t>(t.shrinking_factor * double(pieces.size())));
  for (size_t k = 0; k < losses.size() && out.size() < keep; ++k)
    out.push_back(pieces[losses[k].piece]);
  return out;
}

}  // namespace

std::vector<UnigramPiece> train_unigram(const UnigramTraining& t) {
  MOE_CHECK(!t.words.empty(), "[tokenizer train] there is no text to learn from");
  std::vector<UnigramPiece> pieces = seeds(t);
  const auto wanted = static_cast<size_t>(double(t.n_pieces) * 1.1);
  for (;;) {
    for (int64_t i = 0; i < t.n_sub_iterations; ++i) pieces = improve(pieces, t.words);
    if (t.progress) t.progress(std::ssize(pieces));
    if (pieces.size() <= wanted) break;
    const size_t before = pieces.size();
    pieces = prune(std::move(pieces), t, wanted);
    if (pieces.size() == before) break;  // only characters are left
  }
  // Characters stay, whatever their score; then the best.
  std::vector<UnigramPiece> out, rest;
  for (UnigramPiece& p : pieces) (is_character(p.text) ? out : rest).push_back(std::move(p));
  const auto better = [](const UnigramPiece& a, const UnigramPiece& b) {
    return a.score != b.score ? a.score > b.score : a.text < b.text;
  };
  std::sort(rest.begin(), rest.end(), better);
  for (UnigramPiece& p : rest) {
    if (std::ssize(out) >= t.n_pieces) break;
    out.push_back(std::move(p));
  }
  std::sort(out.begin(), out.end(), better);
  return out;
}

}  // namespace moe
