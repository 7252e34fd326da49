// SPDX-License-Identifier: MIT
// Jinja's grammar as chat templates use it, with the settings that Hugging Face gives:
// trim_blocks, lstrip_blocks, no trailing newline, break and continue, {% generation %}.
#include <algorithm>
#include <charconv>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/jinja/ast.h"

namespace moe::jinja {
namespace {

constexpr int kMaxDepth = 100;  // of expressions and blocks within each other

constexpr size_t kMaxTokens = 2000;  // of one tag: a chain of that many operators is a tree as deep

struct Token {
  enum class Kind { name, integer, real, string, op, end } kind = Kind::end;
  std::string text = {};
  int line = 0;
};

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// A stretch of the source: text, or what stands between {{ }} or {% %}.
struct Segment {
  enum class Kind { text, print, block } kind;
  std::string_view source;
  int line;
};

class Splitter {
 public:
  Splitter(std::string_view source, const std::string& what) : source_(source), what_(what) {}

  std::vector<Segment> split() {
    while (at_ < source_.size()) {
      const size_t open = next_open();
      std::string_view text = source_.substr(at_, open - at_);
      if (open >= source_.size()) {
        add_text(text);
        break;
      }
      const char kind = source_[open + 1];
      const char sign = open + 2 < source_.size() ? source_[open + 2] : ' ';
      if (sign == '-') {
        while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
      } else if (sign != '+' && kind != '{') {  // lstrip_blocks
        std::string_view kept = text;
        while (!kept.empty() && (kept.back() == ' ' || kept.back() == '\t')) kept.remove_suffix(1);
        const bool at_line_start = kept.empty() ? starts_line_ : kept.back() == '\n';
        if (at_line_start) text = kept;
      }
      add_text(text);
      line_ += int(std::count(source_.begin() + std::ptrdiff_t(at_),
                              source_.begin() + std::ptrdiff_t(open), '\n'));
      const size_t begin = open + 2 + (sign == '-' || (sign == '+' && kind != '#'));
      const size_t close = kind == '#' ? source_.find("#}", open + 2)
                                       : end_of_code(begin, kind == '{' ? "}}" : "%}");
      if (close == std::string_view::npos)
        error(line_, str("'", source_.substr(open, 2), "' without its end"));
      std::string_view code =
          source_.substr(std::min(begin, close), close - std::min(begin, close));
      bool strip_after = false, keep_newline = false;
      if (!code.empty() && (code.back() == '-' || code.back() == '+')) {
        strip_after = code.back() == '-';
        keep_newline = code.back() == '+';
        code.remove_suffix(1);
      }
      const int line = line_;
      line_ += int(std::count(source_.begin() + std::ptrdiff_t(open),
                              source_.begin() + std::ptrdiff_t(close), '\n'));
      at_ = close + 2;
      const bool is_raw = kind == '%' && first_word(code) == "raw";
      after_tag(strip_after, keep_newline || kind == '{' || is_raw);
      if (is_raw) {
        raw();
      } else if (kind != '#') {
        segments_.push_back(
            {kind == '{' ? Segment::Kind::print : Segment::Kind::block, code, line});
      }
    }
    return std::move(segments_);
  }

 private:
  [[noreturn]] void error(int line, const std::string& message) const {
    throw Error(str(what_, " line ", line, ": TemplateSyntaxError: ", message));
  }
  void add_text(std::string_view text) {
    if (!text.empty()) segments_.push_back({Segment::Kind::text, text, line_});
  }
  size_t next_open() const {
    for (size_t i = at_; i + 1 < source_.size(); ++i)
      if (source_[i] == '{' &&
          (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#'))
        return i;
    return source_.size();
  }
  /// The closing mark outside strings and, for "}}", outside braces.
  size_t end_of_code(size_t begin, std::string_view mark) const {
    int braces = 0;
    for (size_t i = begin; i < source_.size(); ++i) {
      const char c = source_[i];
      if (c == '"' || c == '\'') {
        for (++i; i < source_.size() && source_[i] != c; ++i)
          if (source_[i] == '\\') ++i;
        continue;
      }
      if (braces == 0 && source_.substr(i, 2) == mark) return i;
      if (c == '{') ++braces;
      if (c == '}' && braces > 0) --braces;
    }
    return std::string_view::npos;
  }
  void after_tag(bool strip, bool keep_newline) {
    starts_line_ = false;
    if (strip) {
      while (at_ < source_.size() && is_blank(source_[at_])) line_ += source_[at_++] == '\n';
      // What is left of the line counts as its begin only behind a line end.
      starts_line_ = at_ > 0 && source_[at_ - 1] == '\n';
    } else if (!keep_newline && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
      ++line_;
      starts_line_ = true;
    }
  }
  void raw() {
    for (size_t i = at_; i < source_.size(); ++i) {
      if (source_.substr(i, 2) != "{%") continue;
      const size_t close = source_.find("%}", i);
      if (close == std::string_view::npos) break;
      std::string_view code = source_.substr(i + 2, close - i - 2);
      const bool strip_before = !code.empty() && code.front() == '-',
                 strip_after = !code.empty() && code.back() == '-';
      while (!code.empty() && (code.front() == '-' || code.front() == '+')) code.remove_prefix(1);
      while (!code.empty() && (code.back() == '-' || code.back() == '+')) code.remove_suffix(1);
      if (first_word(code) != "endraw") continue;
      std::string_view text = source_.substr(at_, i - at_);
      if (strip_before)
        while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
      add_text(text);
      at_ = close + 2;
      after_tag(strip_after, false);
      return;
    }
    error(line_, "'raw' without 'endraw'");
  }
  static std::string_view first_word(std::string_view code) {
    while (!code.empty() && is_blank(code.front())) code.remove_prefix(1);
    size_t n = 0;
    while (n < code.size() && is_name_start(code[n])) ++n;
    return code.substr(0, n);
  }

  std::string_view source_;
  const std::string& what_;
  size_t at_ = 0;
  int line_ = 1;
  bool starts_line_ = true;  // what follows begins a line of the source
  std::vector<Segment> segments_;
};

class Parser {
 public:
  Parser(std::vector<Segment> segments, const std::string& what)
      : segments_(std::move(segments)), what_(what) {}

  Block parse() {
    Block block = parse_block({});
    if (next_ < segments_.size()) error(str("unexpected '", tag_, "'"));
    return block;
  }

 private:
  [[noreturn]] void error(const std::string& message) const {
    throw Error(str(what_, " line ", line_, ": TemplateSyntaxError: ", message));
  }

  // ---- tokens of one tag ----
  void tokenize(const Segment& segment) {
    tokens_.clear();
    at_ = 0;
    line_ = segment.line;
    const std::string_view s = segment.source;
    int line = segment.line;
    for (size_t i = 0; i < s.size();) {
      const char c = s[i];
      if (c == '\n') ++line;
      if (is_blank(c)) {
        ++i;
        continue;
      }
      Token token{.line = line};
      size_t n = 1;
      if (is_name_start(c)) {
        while (i + n < s.size() && (is_name_start(s[i + n]) || is_digit(s[i + n]))) ++n;
        token.kind = Token::Kind::name;
        token.text = s.substr(i, n);
      } else if (is_digit(c)) {
        token.kind = Token::Kind::integer;
        while (i + n < s.size() && (is_digit(s[i + n]) || s[i + n] == '_')) ++n;
        if (i + n + 1 < s.size() && s[i + n] == '.' && is_digit(s[i + n + 1])) {
          token.kind = Token::Kind::real;
          ++n;
          while (i + n < s.size() && is_digit(s[i + n])) ++n;
        }
        if (i + n < s.size() && (s[i + n] == 'e' || s[i + n] == 'E')) {
          size_t k = n + 1;
          if (i + k < s.size() && (s[i + k] == '-' || s[i + k] == '+')) ++k;
          if (i + k < s.size() && is_digit(s[i + k])) {
            token.kind = Token::Kind::real;
            for (n = k; i + n < s.size() && is_digit(s[i + n]);) ++n;
          }
        }
        token.text = s.substr(i, n);
        std::erase(token.text, '_');
      } else if (c == '"' || c == '\'') {
        token.kind = Token::Kind::string;
        n = read_string(s, i, token.text);
        line +=
            int(std::count(s.begin() + std::ptrdiff_t(i), s.begin() + std::ptrdiff_t(i + n), '\n'));
      } else {
        token.kind = Token::Kind::op;
        const std::string_view two = s.substr(i, 2);
        for (const char* known : {"==", "!=", "<=", ">=", "//", "**"})
          if (two == known) n = 2;
        if (n == 1 && std::string_view("+-*/%~<>()[]{}.,:|=").find(c) == std::string_view::npos) {
          line_ = line;
          error(str("unexpected character '", printable(s.substr(i, 1)), "'"));
        }
        token.text = s.substr(i, n);
      }
      tokens_.push_back(std::move(token));
      i += n;
      if (tokens_.size() > kMaxTokens) error(str("a tag of more than ", kMaxTokens, " words"));
    }
    tokens_.push_back({.line = line});
  }

  size_t read_string(std::string_view s, size_t begin, std::string& out) const {
    const char quote = s[begin];
    for (size_t i = begin + 1; i < s.size(); ++i) {
      if (s[i] == quote) return i + 1 - begin;
      if (s[i] != '\\' || i + 1 == s.size()) {
        out += s[i];
        continue;
      }
      const char c = s[++i];
      const auto code = [&](size_t digits) {
        uint32_t value = 0;
        const auto [end, status] = std::from_chars(
            s.data() + i + 1, s.data() + std::min(s.size(), i + 1 + digits), value, 16);
        if (status != std::errc() || end != s.data() + i + 1 + digits || value > 0x10FFFF ||
            (value >= 0xD800 && value < 0xE000))
          error("a wrong \\x or \\u in a text");
        i += digits;
        append_utf8(out, value);
      };
      switch (c) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'v': out += '\v'; break;
        case 'a': out += '\a'; break;
        case '0': out += '\0'; break;
        case '\n': break;
        case '\\':
        case '\'':
        case '"': out += c; break;
        case 'x': code(2); break;
        case 'u': code(4); break;
        case 'U': code(8); break;
        default: out += '\\'; out += c;
      }
    }
    error("a text without its closing quote");
  }

  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  bool is_op(std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::op && peek(ahead).text == text;
  }
  bool is_word(std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::name && peek(ahead).text == text;
  }
  bool take_op(std::string_view text) {
    if (!is_op(text)) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view text) {
    if (!is_word(text)) return false;
    ++at_;
    return true;
  }
  void need_op(std::string_view text) {
    if (!take_op(text)) error(str("expected '", text, "', found ", found()));
  }
  std::string found() const {
    return peek().kind == Token::Kind::end ? "the end of the tag"
                                           : str("'", printable(peek().text, 30), "'");
  }
  std::string need_name() {
    if (peek().kind != Token::Kind::name) error(str("expected a name, found ", found()));
    return tokens_[at_++].text;
  }
  void need_end() {
    if (peek().kind != Token::Kind::end) error(str("unexpected ", found()));
  }

  // ---- expressions, loosest first ----
  struct Depth {
    int& depth;
    explicit Depth(Parser& p) : depth(p.depth_) {
      if (++depth > kMaxDepth) p.error("too deep");
    }
    ~Depth() { --depth; }
  };

  ExpressionPtr make(Op op, std::string text = {}) const {
    auto e = std::make_unique<Expression>();
    e->op = op;
    e->line = peek().line;
    e->text = std::move(text);
    return e;
  }
  ExpressionPtr binary(Op op, ExpressionPtr a, ExpressionPtr b) const {
    auto e = make(op);
    e->children.push_back(std::move(a));
    e->children.push_back(std::move(b));
    return e;
  }

  ExpressionPtr expression(bool with_condition = true) {
    const Depth depth(*this);
    ExpressionPtr e = either();
    while (with_condition && take_word("if")) {
      auto conditional = make(Op::conditional);
      ExpressionPtr condition = either(), otherwise;
      if (take_word("else")) otherwise = expression();
      conditional->children.push_back(std::move(condition));
      conditional->children.push_back(std::move(e));
      conditional->children.push_back(std::move(otherwise));
      e = std::move(conditional);
    }
    return e;
  }
  ExpressionPtr either() {
    ExpressionPtr e = both();
    while (take_word("or")) e = binary(Op::logical_or, std::move(e), both());
    return e;
  }
  ExpressionPtr both() {
    ExpressionPtr e = negation();
    while (take_word("and")) e = binary(Op::logical_and, std::move(e), negation());
    return e;
  }
  ExpressionPtr negation() {
    const Depth depth(*this);
    if (is_word("not") && !is_word("in", 1)) {
      ++at_;
      auto e = make(Op::logical_not);
      e->children.push_back(negation());
      return e;
    }
    return comparison();
  }
  ExpressionPtr comparison() {
    ExpressionPtr e = sum();
    ExpressionPtr chain;
    for (;;) {
      std::string op;
      for (const char* known : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_op(known)) op = known;
      if (is_word("in")) op = "in";
      if (is_word("not") && is_word("in", 1)) {
        op = "not in";
        ++at_;
      }
      if (op.empty()) break;
      ++at_;
      if (!chain) {
        chain = make(Op::compare);
        chain->children.push_back(std::move(e));
      }
      chain->operators.push_back(op);
      chain->children.push_back(sum());
    }
    return chain ? std::move(chain) : std::move(e);
  }
  ExpressionPtr sum() {
    ExpressionPtr e = joined();
    for (;;) {
      if (take_op("+"))
        e = binary(Op::add, std::move(e), joined());
      else if (take_op("-"))
        e = binary(Op::subtract, std::move(e), joined());
      else
        return e;
    }
  }
  ExpressionPtr joined() {
    ExpressionPtr e = product();
    while (take_op("~")) e = binary(Op::concatenate, std::move(e), product());
    return e;
  }
  ExpressionPtr product() {
    ExpressionPtr e = power();
    for (;;) {
      if (take_op("*"))
        e = binary(Op::multiply, std::move(e), power());
      else if (take_op("//"))
        e = binary(Op::floor_divide, std::move(e), power());
      else if (take_op("/"))
        e = binary(Op::divide, std::move(e), power());
      else if (take_op("%"))
        e = binary(Op::modulo, std::move(e), power());
      else
        return e;
    }
  }
  ExpressionPtr power() {  // looser than a sign, unlike Python's
    ExpressionPtr e = unary();
    while (take_op("**")) e = binary(Op::power, std::move(e), unary());
    return e;
  }
  ExpressionPtr unary(bool with_filters = true) {
    const Depth depth(*this);
    ExpressionPtr e;
    if (is_op("-") || is_op("+")) {
      e = make(is_op("-") ? Op::negative : Op::positive);
      ++at_;
      e->children.push_back(unary(false));
    } else {
      e = primary();
    }
    e = postfix(std::move(e));
    return with_filters ? filters(std::move(e)) : std::move(e);
  }

  ExpressionPtr primary() {
    const Token token = peek();
    if (token.kind == Token::Kind::name) {
      ++at_;
      const auto constant = [&](Value value) {
        auto e = make(Op::constant);
        e->value = std::move(value);
        return e;
      };
      if (token.text == "true" || token.text == "True") return constant(Value::of(true));
      if (token.text == "false" || token.text == "False") return constant(Value::of(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      return make(Op::name, token.text);
    }
    if (token.kind == Token::Kind::string) {
      auto e = make(Op::constant);
      std::string text;
      while (peek().kind == Token::Kind::string) text += tokens_[at_++].text;
      e->value = Value::of(Text(std::move(text)));
      return e;
    }
    if (token.kind == Token::Kind::integer || token.kind == Token::Kind::real) {
      ++at_;
      auto e = make(Op::constant);
      const char *begin = token.text.data(), *end = begin + token.text.size();
      int64_t whole = 0;
      double real = 0;
      if (token.kind == Token::Kind::integer &&
          std::from_chars(begin, end, whole).ec == std::errc()) {
        e->value = Value::of(whole);
      } else {
        std::from_chars(begin, end, real);
        e->value = Value::of(real);
      }
      return e;
    }
    if (take_op("(")) {
      if (take_op(")")) return make(Op::tuple);
      ExpressionPtr e = expression();
      if (is_op(",")) {
        auto tuple = make(Op::tuple);
        tuple->children.push_back(std::move(e));
        while (take_op(",") && !is_op(")")) tuple->children.push_back(expression());
        e = std::move(tuple);
      }
      need_op(")");
      return e;
    }
    if (take_op("[")) {
      auto e = make(Op::list);
      while (!is_op("]")) {
        e->children.push_back(expression());
        if (!take_op(",")) break;
      }
      need_op("]");
      return e;
    }
    if (take_op("{")) {
      auto e = make(Op::dict);
      while (!is_op("}")) {
        e->children.push_back(expression());
        need_op(":");
        e->children.push_back(expression());
        if (!take_op(",")) break;
      }
      need_op("}");
      return e;
    }
    error(str("expected a value, found ", found()));
  }

  ExpressionPtr postfix(ExpressionPtr e) {
    for (;;) {
      if (take_op(".")) {
        if (peek().kind == Token::Kind::integer) {
          auto item = make(Op::item);
          item->children.push_back(std::move(e));
          item->children.push_back(primary());
          e = std::move(item);
          continue;
        }
        auto attribute = make(Op::attribute, need_name());
        attribute->children.push_back(std::move(e));
        e = std::move(attribute);
      } else if (take_op("[")) {
        e = subscript(std::move(e));
      } else if (is_op("(")) {
        auto call = make(Op::call);
        call->children.push_back(std::move(e));
        arguments(*call);
        e = std::move(call);
      } else {
        return e;
      }
    }
  }
  ExpressionPtr subscript(ExpressionPtr of) {
    ExpressionPtr parts[3];
    int n = 0;
    bool is_slice = false;
    while (!is_op("]")) {
      if (take_op(":")) {
        is_slice = true;
        if (++n > 2) error("a slice of more than three parts");
        continue;
      }
      if (parts[n]) error(str("expected ']', found ", found()));
      parts[n] = expression();
    }
    need_op("]");
    if (!is_slice && !parts[0]) error("an empty index");
    auto e = make(is_slice ? Op::slice : Op::item);
    e->children.push_back(std::move(of));
    for (int k = 0; k < (is_slice ? 3 : 1); ++k) e->children.push_back(std::move(parts[k]));
    return e;
  }
  void arguments(Expression& call) {
    need_op("(");
    while (!is_op(")")) {
      if (peek().kind == Token::Kind::name && is_op("=", 1)) {
        const std::string name = need_name();
        ++at_;
        call.named.emplace_back(name, expression());
      } else {
        if (!call.named.empty()) error("a positional argument behind a named one");
        call.children.push_back(expression());
      }
      if (!take_op(",")) break;
    }
    need_op(")");
  }

  ExpressionPtr filters(ExpressionPtr e) {
    for (;;) {
      if (take_op("|")) {
        auto filter = make(Op::filter, need_name());
        while (take_op(".")) filter->text += "." + need_name();
        filter->children.push_back(std::move(e));
        if (is_op("(")) arguments(*filter);
        e = postfix_of_filter(std::move(filter));
      } else if (take_word("is")) {
        const bool negated = take_word("not");
        auto test = make(negated ? Op::not_test : Op::test, test_name());
        test->children.push_back(std::move(e));
        if (is_op("(")) {
          arguments(*test);
        } else if (takes_argument()) {
          test->children.push_back(postfix(primary()));
        }
        e = std::move(test);
      } else {
        return e;
      }
    }
  }
  ExpressionPtr postfix_of_filter(ExpressionPtr e) {
    return is_op("(") ? postfix(std::move(e)) : std::move(e);
  }
  std::string test_name() {
    if (peek().kind == Token::Kind::op) {  // is == 1
      const std::string op = tokens_[at_].text;
      for (const char* known : {"==", "!=", "<", "<=", ">", ">="})
        if (op == known) {
          ++at_;
          return op;
        }
    }
    return need_name();
  }
  bool takes_argument() const {
    switch (peek().kind) {
      case Token::Kind::integer:
      case Token::Kind::real:
      case Token::Kind::string: return true;
      case Token::Kind::op: return is_op("[") || is_op("{");
      case Token::Kind::name:
        for (const char* word : {"else", "or", "and", "is", "if", "in", "not"})
          if (is_word(word)) return false;
        return true;
      default: return false;
    }
  }

  // ---- blocks ----
  Block parse_block(const std::vector<std::string_view>& ends) {
    const Depth depth(*this);
    Block out;
    while (next_ < segments_.size()) {
      const Segment& segment = segments_[next_];
      if (segment.kind == Segment::Kind::text) {
        ++next_;
        Statement s;
        s.text = segment.source;
        out.push_back(std::move(s));
        continue;
      }
      tokenize(segment);
      if (segment.kind == Segment::Kind::print) {
        ++next_;
        Statement s;
        s.kind = Statement::Kind::print;
        s.line = segment.line;
        s.expression = tuple_or_expression();
        need_end();
        out.push_back(std::move(s));
        continue;
      }
      tag_ = need_name();
      if (std::find(ends.begin(), ends.end(), tag_) != ends.end()) {
        ++next_;
        return out;
      }
      if (ends.empty() && (starts_with(tag_, "end") || tag_ == "else" || tag_ == "elif"))
        error(str("unexpected '", tag_, "'"));
      ++next_;
      out.push_back(statement(segment.line));
    }
    if (!ends.empty()) error(str("the template ends where '", ends.back(), "' is missing"));
    return out;
  }
  ExpressionPtr tuple_or_expression(bool with_condition = true) {
    ExpressionPtr e = expression(with_condition);
    if (!is_op(",")) return e;
    auto tuple = make(Op::tuple);
    tuple->children.push_back(std::move(e));
    while (take_op(",") && peek().kind != Token::Kind::end)
      tuple->children.push_back(expression(with_condition));
    return tuple;
  }
  std::vector<std::string> targets() {
    const bool in_parentheses = take_op("(");
    std::vector<std::string> out = {need_name()};
    while (take_op(",")) out.push_back(need_name());
    if (in_parentheses) need_op(")");
    return out;
  }
  std::vector<Parameter> parameters() {
    std::vector<Parameter> out;
    need_op("(");
    while (!is_op(")")) {
      Parameter p{need_name(), nullptr};
      if (take_op("=")) p.otherwise = expression();
      out.push_back(std::move(p));
      if (!take_op(",")) break;
    }
    need_op(")");
    return out;
  }

  Statement statement(int line) {
    Statement s;
    s.line = line;
    const std::string tag = tag_;
    if (tag == "if") {
      s.kind = Statement::Kind::condition;
      ExpressionPtr condition = expression();
      need_end();
      for (;;) {
        Block body = parse_block({"elif", "else", "endif"});
        s.branches.emplace_back(std::move(condition), std::move(body));
        if (tag_ == "endif") break;
        if (tag_ == "else") {
          need_end();
          s.branches.emplace_back(nullptr, parse_block({"endif"}));
          break;
        }
        condition = expression();
        need_end();
      }
    } else if (tag == "for") {
      s.kind = Statement::Kind::loop;
      s.targets = targets();
      if (!take_word("in")) error(str("expected 'in', found ", found()));
      s.expression = tuple_or_expression(false);
      if (take_word("if")) s.condition = expression();
      if (take_word("recursive")) error("recursive loops are not supported");
      need_end();
      ++loops_;
      s.body = parse_block({"else", "endfor"});
      --loops_;
      if (tag_ == "else") s.else_body = parse_block({"endfor"});
    } else if (tag == "set") {
      s.kind = Statement::Kind::assign;
      s.targets = targets();
      if (s.targets.size() == 1 && take_op(".")) s.attribute = need_name();
      if (take_op("=")) {
        s.expression = tuple_or_expression();
        need_end();
      } else {
        if (s.targets.size() != 1) error("a block can be set to one name only");
        if (is_op("|")) {
          s.condition = filters(make(Op::name, "\n"));  // applied to the block's text
        }
        need_end();
        s.body = parse_block({"endset"});
      }
    } else if (tag == "macro") {
      s.kind = Statement::Kind::macro;
      s.text = need_name();
      s.parameters = parameters();
      need_end();
      const int loops = std::exchange(loops_, 0);
      s.body = parse_block({"endmacro"});
      loops_ = loops;
    } else if (tag == "call") {
      s.kind = Statement::Kind::call;
      if (is_op("(")) s.parameters = parameters();
      s.expression = expression();
      if (s.expression->op != Op::call) error("'call' needs a call");
      need_end();
      s.body = parse_block({"endcall"});
    } else if (tag == "filter") {
      s.kind = Statement::Kind::filter;
      auto e = make(Op::filter, need_name());
      e->children.push_back(make(Op::name, "\n"));
      if (is_op("(")) arguments(*e);
      s.expression = filters(std::move(e));
      need_end();
      s.body = parse_block({"endfilter"});
    } else if (tag == "generation") {
      s.kind = Statement::Kind::generation;
      need_end();
      s.body = parse_block({"endgeneration"});
    } else if (tag == "with") {
      s.kind = Statement::Kind::scope;
      while (peek().kind != Token::Kind::end) {
        Parameter p{need_name(), nullptr};
        need_op("=");
        p.otherwise = expression();
        s.parameters.push_back(std::move(p));
        if (!take_op(",")) break;
      }
      need_end();
      s.body = parse_block({"endwith"});
    } else if (tag == "break" || tag == "continue") {
      if (loops_ == 0) error(str("'", tag, "' outside a loop"));
      s.kind = tag == "break" ? Statement::Kind::stop_loop : Statement::Kind::next_loop;
      need_end();
    } else {
      error(str("unknown tag '", printable(tag, 30), "'"));
    }
    return s;
  }

  std::vector<Segment> segments_;
  const std::string& what_;
  size_t next_ = 0;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int line_ = 1, depth_ = 0, loops_ = 0;
  std::string tag_;
};

}  // namespace

Block parse_template(std::string_view source, const std::string& what) {
  MOE_CHECK(source.size() <= (size_t{4} << 20), what, ": a template of ", source.size(),
            " bytes; at most 4 MiB are read");
  MOE_CHECK(first_invalid_utf8(source) == std::string::npos, what, ": the template is not UTF-8");
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (ends_with(text, "\n")) text.pop_back();
  return Parser(Splitter(text, what).split(), what).parse();
}

}  // namespace moe::jinja
