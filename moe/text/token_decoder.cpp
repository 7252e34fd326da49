// SPDX-License-Identifier: MIT
#include "moe/text/token_decoder.h"

#include "moe/base/error.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/regex.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  for (size_t at; (at = text.find(from)) != std::string_view::npos;) {
    out += text.substr(0, at);
    out += to;
    text.remove_prefix(at + from.size());
  }
  return out += text;
}

/// Each token by itself: the bytes that it spells, or its own when it spells none.
class ByteLevel : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens)
      if (auto bytes = bytes_of_spelling(token)) token = std::move(*bytes);
  }
};

class Metaspace : public TokenDecoder {
 public:
  Metaspace(std::string replacement, bool prepends)
      : replacement_(std::move(replacement)), prepends_(prepends) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string_view token = tokens[i];
      // Of the first token every replacement at its begin goes, as the library does it.
      if (i == 0 && prepends_)
        while (starts_with(token, replacement_)) token.remove_prefix(replacement_.size());
      tokens[i] = replace_all(token, replacement_, " ");
    }
  }

 private:
  std::string replacement_;
  bool prepends_;
};

std::string clean_up(std::string text) {
  for (const auto& [from, to] : {std::pair{" .", "."},
                                 {" ?", "?"},
                                 {" !", "!"},
                                 {" ,", ","},
                                 {" ' ", "'"},
                                 {" n't", "n't"},
                                 {" 'm", "'m"},
                                 {" do not", " don't"},
                                 {" 's", "'s"},
                                 {" 've", "'ve"},
                                 {" 're", "'re"}})
    text = replace_all(text, from, to);
  return text;
}

class WordPiece : public TokenDecoder {
 public:
  WordPiece(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        token = starts_with(token, prefix_) ? token.substr(prefix_.size()) : str(' ', token);
      }
      if (cleanup_) token = clean_up(std::move(token));
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

class BpeSuffix : public TokenDecoder {
 public:
  explicit BpeSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

/// A run of byte tokens becomes its text where it is UTF-8, else one U+FFFD for each.
class ByteFallback : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (first_invalid_utf8(bytes) == std::string::npos)
        out.push_back(bytes);
      else
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of_fallback_token(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    tokens = {std::move(all)};
  }
};

class Strip : public TokenDecoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && starts_with(rest, content_); ++i)
        rest.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && ends_with(rest, content_); ++i)
        rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class Replace : public TokenDecoder {
 public:
  Replace(std::string from, std::string to, std::shared_ptr<const Regex> regex)
      : from_(std::move(from)), to_(std::move(to)), regex_(std::move(regex)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      if (!regex_) {
        token = replace_all(token, from_, to_);
        continue;
      }
      std::string out;
      size_t done = 0;
      Regex::Search search(*regex_, token);
      for (Regex::Match m; (m = search.next()).begin != std::string::npos; done = m.end) {
        out.append(token, done, m.begin - done);
        out += to_;
      }
      token = out.append(token, done);
    }
  }

 private:
  std::string from_, to_;
  std::shared_ptr<const Regex> regex_;
};

class Ctc : public TokenDecoder {
 public:
  Ctc(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && tokens[i] == tokens[i - 1]) continue;
      std::string token = replace_all(tokens[i], pad_, "");
      if (cleanup_) token = replace_all(clean_up(std::move(token)), delimiter_, " ");
      if (!token.empty()) out.push_back(std::move(token));
    }
    tokens = std::move(out);
  }

 private:
  std::string pad_, delimiter_;
  bool cleanup_;
};

class Sequence : public TokenDecoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<TokenDecoder>> parts) : parts_(std::move(parts)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> parts_;
};

std::unique_ptr<TokenDecoder> make_replace(const JsonReader& r) {
  const Json& pattern = r.at("pattern");
  MOE_CHECK(pattern.is_object(), r.what(), ": the pattern of a Replace is no object");
  const JsonReader p(pattern.as_object(), r.what());
  const std::string to = r.string("content");
  if (p.has("String")) return std::make_unique<Replace>(p.string("String"), to, nullptr);
  return std::make_unique<Replace>("", to,
                                   std::make_shared<const Regex>(p.string("Regex"), r.what()));
}

}  // namespace

int byte_of_fallback_token(std::string_view token) {
  if (token.size() != 6 || !starts_with(token, "<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::unique_ptr<TokenDecoder> make_token_decoder(const Json& json, const std::string& source) {
  if (json.is_null()) return nullptr;
  MOE_CHECK(json.is_object(), source, ": the decoder is no object");
  const std::string what = source + ": decoder";
  const JsonReader r(json.as_object(), what);
  const std::string type = r.string("type");
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Metaspace") {
    const bool prepends = r.has("prepend_scheme") ? r.string("prepend_scheme") != "never"
                                                  : r.boolean_or("add_prefix_space", true);
    return std::make_unique<Metaspace>(r.string_or("replacement", "\xE2\x96\x81"), prepends);
  }
  if (type == "WordPiece")
    return std::make_unique<WordPiece>(r.string_or("prefix", "##"), r.boolean_or("cleanup", true));
  if (type == "BPEDecoder") return std::make_unique<BpeSuffix>(r.string_or("suffix", "</w>"));
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip") {
    const std::string content = r.string("content");
    MOE_CHECK(!content.empty(), what, ": the content of a Strip is empty");
    return std::make_unique<Strip>(content, r.integer_or("start", 0), r.integer_or("stop", 0));
  }
  if (type == "Replace") return make_replace(r);
  if (type == "CTC")
    return std::make_unique<Ctc>(r.string_or("pad_token", "<pad>"),
                                 r.string_or("word_delimiter_token", "|"),
                                 r.boolean_or("cleanup", true));
  if (type == "Sequence") {
    const Json& parts = r.at("decoders");
    MOE_CHECK(parts.is_array(), what, ": 'decoders' is no list");
    std::vector<std::unique_ptr<TokenDecoder>> out;
    for (const Json& part : parts.as_array())
      if (auto decoder = make_token_decoder(part, source)) out.push_back(std::move(decoder));
    return std::make_unique<Sequence>(std::move(out));
  }
  throw Error(str(source, ": a decoder of type '", printable(type, 40),
                  "', which this program does not know; it knows ByteLevel, Metaspace, WordPiece, "
                  "BPEDecoder, ByteFallback, Fuse, Strip, Replace, CTC and Sequence"));
}

}  // namespace moe
