// SPDX-License-Identifier: MIT
#include <cmath>
#include <ctime>
#include <map>

#include "moe/base/error.h"
#include "moe/text/jinja/ast.h"
#include "moe/text/jinja/builtins.h"
#include "moe/text/jinja/template.h"

namespace moe {

using namespace jinja;

namespace {

constexpr int kMaxNesting = 800;  // of expressions and blocks being evaluated: 2 KiB of stack each
constexpr int64_t kMaxRange = 100'000;  // as jinja2's sandbox
// What a filter block or a set block is applied to; no name of a template holds a line end.
const std::string kBlockText = "\n";

enum class Flow { on, stop_loop, next_loop };

class Interpreter {
 public:
  Interpreter(const std::string& what, double now, const TemplateLimits& limits)
      : what_(what), now_(now), limits_(limits) {}

  Rendered run(const Block& block, const Value& context) {
    scopes_.emplace_back();
    add_globals();
    if (context.is(Kind::dict))
      for (const auto& [key, value] : *context.dict) scopes_[0][to_text(key).bytes] = value;
    scopes_.emplace_back();  // what the template sets at its top
    execute(block);
    return {std::move(out_), std::move(generated_)};
  }

 private:
  using Scope = std::map<std::string, Value>;

  [[noreturn]] void rethrow(const Error& error, int line) {
    if (located_) throw error;
    located_ = true;
    throw Error(str(what_, " line ", line, ": ", error.what()));
  }

  /// Bounds the stack: macros call each other, expressions and blocks lie within each other.
  struct Nesting {
    int& depth;
    explicit Nesting(Interpreter& i) : depth(i.nesting_) {
      if (++depth > kMaxNesting) fail("RecursionError", "the template is too deep");
    }
    ~Nesting() { --depth; }
  };

  // ---- names ------------------------------------------------------------------------------
  void add_globals() {
    Scope& g = scopes_[0];
    g["range"] = Value::of(Function([](const Arguments& a) {
      int64_t bounds[3] = {0, 0, 1};
      const size_t n = a.positional.size();
      if (n < 1 || n > 3) fail("TypeError", "range needs one to three numbers");
      for (size_t i = 0; i < n; ++i) {
        if (!a.positional[i].is(Kind::integer)) fail("TypeError", "range needs whole numbers");
        bounds[n == 1 ? 1 : i] = a.positional[i].integer;
      }
      const auto [first, last, step] = bounds;
      if (step == 0) fail("ValueError", "range() arg 3 must not be zero");
      // In 128 bits, where no difference overflows.
      const auto distance = step > 0 ? __int128{last} - first : __int128{first} - last;
      const auto stride = step > 0 ? __int128{step} : -__int128{step};
      const auto size = distance > 0 ? (distance + stride - 1) / stride : 0;
      if (size > kMaxRange)
        fail("OverflowError",
             str("Range too big. The sandbox blocks ranges larger than ", kMaxRange, "."));
      List out;
      const auto n_items = static_cast<int64_t>(size);
      for (int64_t k = 0, i = first; k < n_items; ++k) {
        out.push_back(Value::of(i));
        if (k + 1 < n_items) i += step;  // the number behind the last need not fit
      }
      return Value::of(std::move(out));
    }));
    g["dict"] = Value::of(Function([](const Arguments& a) {
      Dict out;
      for (const auto& [key, value] : a.named) out.emplace_back(Value::of(Text(key)), value);
      return Value::of(std::move(out));
    }));
    g["namespace"] = Value::of(Function([](const Arguments& a) {
      Dict out;
      for (const Value& v : a.positional)
        if (v.is(Kind::dict)) out.insert(out.end(), v.dict->begin(), v.dict->end());
      for (const auto& [key, value] : a.named) out.emplace_back(Value::of(Text(key)), value);
      Value space = Value::of(std::move(out));
      space.kind = Kind::space;
      space.depth = 0;
      return space;
    }));
    g["raise_exception"] = Value::of(Function([](const Arguments& a) -> Value {
      fail("TemplateError",
           a.positional.empty() ? "" : printable(to_text(a.positional[0]).bytes, 400));
    }));
    g["strftime_now"] = Value::of(Function([now = now_](const Arguments& a) {
      if (a.positional.empty() || !a.positional[0].is(Kind::string))
        fail("TypeError", "strftime_now needs a format");
      const std::string& format = a.positional[0].bytes();
      if (format.empty()) return Value::of(Text());
      const auto seconds = static_cast<std::time_t>(now);
      std::tm parts{};
      gmtime_r(&seconds, &parts);
      char buffer[512];
      const size_t n =
          format.size() < 100 ? std::strftime(buffer, sizeof buffer, format.c_str(), &parts) : 0;
      return Value::of(Text(std::string(buffer, n)));
    }));
  }

  Value look_up(const std::string& name) {
    for (size_t i = scopes_.size(); i-- > base_;)
      if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) return found->second;
    for (size_t i = std::min<size_t>(base_, 2); i-- > 0;)  // a macro sees the top of the template
      if (const auto found = scopes_[i].find(name); found != scopes_[i].end()) return found->second;
    return Value::undefined(name);
  }

  // ---- expressions ------------------------------------------------------------------------
  Value evaluate(const Expression& e) {
    Budget::spend(1);
    const Nesting nesting(*this);
    try {
      return value_of(e);
    } catch (const Error& error) {
      rethrow(error, e.line);
    }
  }

  const Value& defined(const Value& v) {
    if (v.is(Kind::undefined))
      fail("UndefinedError", str("'", printable(v.text->bytes, 60), "' is undefined"));
    return v;
  }

  Arguments arguments_of(const Expression& e, size_t first) {
    Arguments out;
    for (size_t i = first; i < e.children.size(); ++i)
      out.positional.push_back(evaluate(*e.children[i]));
    for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value));
    return out;
  }

  Value value_of(const Expression& e) {
    const auto child = [&](size_t i) { return evaluate(*e.children[i]); };
    switch (e.op) {
      case Op::constant: return e.value;
      case Op::name: return look_up(e.text);
      case Op::list:
      case Op::tuple: {
        List out;
        for (const ExpressionPtr& c : e.children) out.push_back(evaluate(*c));
        return Value::of(std::move(out), e.op == Op::tuple);
      }
      case Op::dict: {
        Dict out;
        for (size_t i = 0; i < e.children.size(); i += 2) {
          Value key = child(i), value = child(i + 1);
          const auto same = std::find_if(
              out.begin(), out.end(), [&](const auto& entry) { return equal(entry.first, key); });
          if (same != out.end())
            same->second = std::move(value);
          else
            out.emplace_back(std::move(key), std::move(value));
        }
        return Value::of(std::move(out));
      }
      case Op::attribute: return attribute_of(child(0), e.text);
      case Op::item: {
        const Value of = child(0);
        return item_of(of, child(1));
      }
      case Op::slice: return slice(e);
      case Op::call: {
        const Value function = child(0);
        return call(function, arguments_of(e, 1));
      }
      case Op::filter: return apply_filter(e.text, arguments_of(e, 0));
      case Op::test: return Value::of(apply_test(e.text, arguments_of(e, 0)));
      case Op::not_test: return Value::of(!apply_test(e.text, arguments_of(e, 0)));
      case Op::logical_not: return Value::of(!truth(child(0)));
      case Op::logical_and: {
        Value left = child(0);
        return truth(left) ? child(1) : left;
      }
      case Op::logical_or: {
        Value left = child(0);
        return truth(left) ? left : child(1);
      }
      case Op::conditional:
        if (truth(child(0))) return child(1);
        return e.children[2] ? child(2) : Value::undefined("the value of an 'if' without 'else'");
      case Op::compare: {
        Value left = child(0);
        for (size_t i = 0; i < e.operators.size(); ++i) {
          Value right = child(i + 1);
          if (!holds(left, e.operators[i], right)) return Value::of(false);
          left = std::move(right);
        }
        return Value::of(true);
      }
      case Op::concatenate: {
        Text out = to_text(child(0));
        out.append(to_text(child(1)));
        return Value::of(std::move(out));
      }
      case Op::negative:
      case Op::positive: {
        const Value v = defined(child(0));
        if (!v.is_number())
          fail("TypeError", "bad operand type for unary -: '" + type_name(v) + "'");
        const int sign = e.op == Op::negative ? -1 : 1;
        if (v.is(Kind::real)) return Value::of(sign * v.real);
        const int64_t n = v.is(Kind::boolean) ? int64_t(v.boolean) : v.integer;
        return Value::of(n == INT64_MIN ? n : sign * n);
      }
      default: {
        const Value left = child(0);
        return arithmetic(e.op, left, child(1));
      }
    }
  }

  bool holds(const Value& a, const std::string& op, const Value& b) {
    if (op == "==") return equal(a, b);
    if (op == "!=") return !equal(a, b);
    if (op == "in") return contains(b, a);
    if (op == "not in") return !contains(b, a);
    const int order = compare(a, b);
    return op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
  }

  Value arithmetic(Op op, const Value& a, const Value& b) {
    defined(a);
    defined(b);
    if (a.is_number() && b.is_number()) return of_numbers(op, a, b);
    if (op == Op::add) {
      if (a.is(Kind::string) && b.is(Kind::string)) {
        Text out = *a.text;
        out.append(*b.text);
        return Value::of(std::move(out));
      }
      if (a.is_sequence() && a.kind == b.kind) {
        Budget::check_size((a.list->size() + b.list->size()) * sizeof(Value));
        List out = *a.list;
        out.insert(out.end(), b.list->begin(), b.list->end());
        return Value::of(std::move(out), a.is(Kind::tuple));
      }
    }
    if (op == Op::multiply && (b.is(Kind::integer) || a.is(Kind::integer))) {
      const Value& what = a.is(Kind::integer) ? b : a;
      const int64_t n = std::max<int64_t>(0, a.is(Kind::integer) ? a.integer : b.integer);
      if (what.is(Kind::string)) {
        Budget::check_size(size_t(std::min<double>(double(n) * double(what.bytes().size()), 1e15)));
        Text out;
        for (int64_t i = 0; i < n && !what.bytes().empty(); ++i) out.append(*what.text);
        return Value::of(std::move(out));
      }
      if (what.is_sequence()) {
        Budget::check_size(
            size_t(std::min<double>(double(n) * double(what.list->size() * sizeof(Value)), 1e15)));
        List out;
        for (int64_t i = 0; i < n && !what.list->empty(); ++i)
          out.insert(out.end(), what.list->begin(), what.list->end());
        return Value::of(std::move(out), what.is(Kind::tuple));
      }
    }
    if (op == Op::modulo && a.is(Kind::string)) return format(a, b);
    if (op == Op::add && a.is(Kind::string))
      fail("TypeError", "can only concatenate str (not \"" + type_name(b) + "\") to str");
    fail("TypeError",
         "unsupported operand types: '" + type_name(a) + "' and '" + type_name(b) + "'");
  }

  Value of_numbers(Op op, const Value& a, const Value& b) {
    const bool real = a.is(Kind::real) || b.is(Kind::real);
    const double x = a.number(), y = b.number();
    const auto whole = [](const Value& v) {
      return v.is(Kind::boolean) ? int64_t(v.boolean) : v.integer;
    };
    int64_t n = 0;
    const auto exact = [&](bool overflow, double otherwise) {
      return overflow ? Value::of(otherwise) : Value::of(n);
    };
    if ((op == Op::divide || op == Op::floor_divide || op == Op::modulo) && y == 0)
      fail("ZeroDivisionError", "division by zero");
    switch (op) {
      case Op::add:
        return real ? Value::of(x + y)
                    : exact(__builtin_add_overflow(whole(a), whole(b), &n), x + y);
      case Op::subtract:
        return real ? Value::of(x - y)
                    : exact(__builtin_sub_overflow(whole(a), whole(b), &n), x - y);
      case Op::multiply:
        return real ? Value::of(x * y)
                    : exact(__builtin_mul_overflow(whole(a), whole(b), &n), x * y);
      case Op::divide: return Value::of(x / y);
      case Op::floor_divide:
      case Op::modulo: {
        if (real || (whole(a) == INT64_MIN && whole(b) == -1))
          return Value::of(op == Op::modulo ? x - y * std::floor(x / y) : std::floor(x / y));
        int64_t q = whole(a) / whole(b), r = whole(a) % whole(b);
        if (r != 0 && (r < 0) != (whole(b) < 0)) {
          --q;
          r += whole(b);
        }
        return Value::of(op == Op::modulo ? r : q);
      }
      default: {
        const double result = std::pow(x, y);
        if (!real && y >= 0 && std::abs(result) < 9e15)
          return Value::of(int64_t(std::llround(result)));
        return Value::of(result);
      }
    }
  }

  /// "%s and %d" % values
  Value format(const Value& pattern, const Value& values) {
    List items = values.is(Kind::tuple) ? *values.list : List{values};
    Text out;
    size_t next = 0;
    const std::string& s = pattern.bytes();
    for (size_t i = 0; i < s.size(); ++i) {
      if (s[i] != '%') {
        out.append(pattern.text->substr(i, 1));
        continue;
      }
      const char c = ++i < s.size() ? s[i] : '\0';
      if (c == '%') {
        out.append("%");
      } else if (c == 's' || c == 'd' || c == 'r') {
        if (next >= items.size()) fail("TypeError", "not enough arguments for format string");
        out.append(c == 'r' ? to_repr(items[next]) : to_text(items[next]));
        ++next;
      } else {
        fail("ValueError", "unsupported format character");
      }
    }
    if (next < items.size())
      fail("TypeError", "not all arguments converted during string formatting");
    return Value::of(std::move(out));
  }

  Value slice(const Expression& e) {
    const Value of = defined(evaluate(*e.children[0]));
    if (!of.is(Kind::string) && !of.is_sequence())
      fail("TypeError", "'" + type_name(of) + "' object is not subscriptable by a slice");
    std::vector<Text> characters;
    if (of.is(Kind::string)) characters = characters_of(*of.text);
    const int64_t n = of.is(Kind::string) ? std::ssize(characters) : std::ssize(*of.list);
    std::optional<int64_t> parts[3];
    for (size_t k = 0; k < 3; ++k) {
      if (!e.children[k + 1]) continue;
      const Value v = evaluate(*e.children[k + 1]);
      if (v.is(Kind::none)) continue;
      if (!defined(v).is(Kind::integer) && !v.is(Kind::boolean))
        fail("TypeError", "slice indices must be integers or None");
      parts[k] = v.is(Kind::boolean) ? int64_t(v.boolean) : v.integer;
    }
    const int64_t step = parts[2].value_or(1);
    if (step == 0) fail("ValueError", "slice step cannot be zero");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    const auto bound = [&](std::optional<int64_t> at, int64_t otherwise) {
      if (!at) return otherwise;
      return std::clamp(*at < 0 ? *at + n : *at, low, high);
    };
    const int64_t begin = bound(parts[0], step > 0 ? low : high),
                  end = bound(parts[1], step > 0 ? high : low);
    Text text;
    List list;
    for (int64_t i = begin; step > 0 ? i < end : i > end;) {
      if (of.is(Kind::string))
        text.append(characters[size_t(i)]);
      else
        list.push_back((*of.list)[size_t(i)]);
      if (step > n || step < -n) break;  // and i + step need not fit
      i += step;
    }
    return of.is(Kind::string) ? Value::of(std::move(text))
                               : Value::of(std::move(list), of.is(Kind::tuple));
  }

  Value call(const Value& function, const Arguments& arguments) {
    defined(function);
    if (!function.is(Kind::function))
      fail("TypeError", "'" + type_name(function) + "' object is not callable");
    return (*function.function)(arguments);
  }

  // ---- statements -------------------------------------------------------------------------
  void print(const Text& text) {
    out_.append(text);
    if (out_.bytes.size() > limits_.output_bytes)
      fail("LimitError", str("the output has more than ", human_bytes(limits_.output_bytes)));
  }

  /// What a block prints, as a text of its own.
  Text captured(const Block& block) {
    Text outer = std::exchange(out_, Text());
    const auto marks = std::exchange(generated_, {});
    execute(block);
    generated_ = marks;
    return std::exchange(out_, std::move(outer));
  }

  Flow execute(const Block& block) {
    const Nesting nesting(*this);
    for (const Statement& s : block) {
      Budget::spend(1);
      try {
        if (const Flow flow = run(s); flow != Flow::on) return flow;
      } catch (const Error& error) {
        rethrow(error, s.line);
      }
    }
    return Flow::on;
  }

  Flow run(const Statement& s) {
    switch (s.kind) {
      case Statement::Kind::text: print(Text(s.text)); return Flow::on;
      case Statement::Kind::print: print(to_text(evaluate(*s.expression))); return Flow::on;
      case Statement::Kind::condition:
        for (const auto& [condition, body] : s.branches)
          if (!condition || truth(evaluate(*condition))) return execute(body);
        return Flow::on;
      case Statement::Kind::loop: return loop(s);
      case Statement::Kind::assign: assign(s); return Flow::on;
      case Statement::Kind::macro: scopes_.back()[s.text] = make_macro(s, s.text); return Flow::on;
      case Statement::Kind::call: {
        Arguments arguments = arguments_of(*s.expression, 1);
        arguments.named.emplace_back("caller", make_macro(s, "caller"));
        print(to_text(call(evaluate(*s.expression->children[0]), arguments)));
        return Flow::on;
      }
      case Statement::Kind::filter: {
        scopes_.emplace_back();
        scopes_.back()[kBlockText] = Value::of(captured(s.body));
        const Text text = to_text(evaluate(*s.expression));
        scopes_.pop_back();
        print(text);
        return Flow::on;
      }
      case Statement::Kind::generation: {
        const size_t begin = out_.bytes.size();
        const Flow flow = execute(s.body);
        generated_.emplace_back(begin, out_.bytes.size());
        return flow;
      }
      case Statement::Kind::scope: {
        Scope scope;
        for (const Parameter& p : s.parameters) scope[p.name] = evaluate(*p.otherwise);
        scopes_.push_back(std::move(scope));
        const Flow flow = execute(s.body);
        scopes_.pop_back();
        return flow;
      }
      case Statement::Kind::stop_loop: return Flow::stop_loop;
      case Statement::Kind::next_loop: return Flow::next_loop;
    }
    return Flow::on;
  }

  void unpack(const std::vector<std::string>& targets, const Value& value, Scope& scope) {
    if (targets.size() == 1) {
      scope[targets[0]] = value;
      return;
    }
    const List parts = items_of(defined(value));
    if (parts.size() != targets.size())
      fail("ValueError",
           str("cannot unpack ", parts.size(), " values into ", targets.size(), " names"));
    for (size_t i = 0; i < parts.size(); ++i) scope[targets[i]] = parts[i];
  }

  void assign(const Statement& s) {
    Value value;
    if (s.expression) {
      value = evaluate(*s.expression);
    } else {
      value = Value::of(captured(s.body));
      if (s.condition) {  // {% set x | filter %}
        scopes_.emplace_back();
        scopes_.back()[kBlockText] = value;
        value = evaluate(*s.condition);
        scopes_.pop_back();
      }
    }
    if (s.attribute.empty()) {
      unpack(s.targets, value, scopes_.back());
      return;
    }
    const Value space = look_up(s.targets[0]);
    if (!space.is(Kind::space))
      fail("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    if (value.is(Kind::space)) fail("TypeError", "a namespace cannot lie within another value");
    for (auto& [key, old] : *space.dict)
      if (key.bytes() == s.attribute) {
        old = std::move(value);
        return;
      }
    space.dict->emplace_back(Value::of(Text(s.attribute)), std::move(value));
  }

  Flow loop(const Statement& s) {
    const Value over = evaluate(*s.expression);
    List items = items_of(over);
    if (s.condition) {
      List kept;
      for (const Value& item : items) {
        scopes_.emplace_back();
        unpack(s.targets, item, scopes_.back());
        const bool keep = truth(evaluate(*s.condition));
        scopes_.pop_back();
        if (keep) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) return execute(s.else_body);
    const auto n = std::ssize(items);
    auto previous = std::make_shared<std::optional<Value>>();
    Flow result = Flow::on;
    for (int64_t i = 0; i < n; ++i) {
      Scope scope;
      unpack(s.targets, items[size_t(i)], scope);
      Dict loop;
      const auto add = [&](const char* name, Value value) {
        loop.emplace_back(Value::of(Text(name)), std::move(value));
      };
      add("index", Value::of(i + 1));
      add("index0", Value::of(i));
      add("first", Value::of(i == 0));
      add("last", Value::of(i + 1 == n));
      add("length", Value::of(int64_t(n)));
      add("revindex", Value::of(n - i));
      add("revindex0", Value::of(n - i - 1));
      add("depth", Value::of(int64_t{1}));  // counts recursive loops alone
      add("depth0", Value::of(int64_t{0}));
      if (i > 0) add("previtem", items[size_t(i - 1)]);
      if (i + 1 < n) add("nextitem", items[size_t(i + 1)]);
      add("cycle", Value::of(Function([i](const Arguments& a) {
            if (a.positional.empty()) fail("TypeError", "no items for cycling given");
            return a.positional[size_t(i) % a.positional.size()];
          })));
      add("changed", Value::of(Function([previous](const Arguments& a) {
            const Value now = Value::of(List(a.positional));
            const bool changed = !*previous || !equal(**previous, now);
            *previous = now;
            return Value::of(changed);
          })));
      scope["loop"] = Value::of(std::move(loop));
      scope["loop"].kind = Kind::space;  // attributes only
      scopes_.push_back(std::move(scope));
      const Flow flow = execute(s.body);
      scopes_.pop_back();
      if (flow == Flow::stop_loop) break;
    }
    return result;
  }

  Value make_macro(const Statement& s, const std::string& name) {
    // A call block's body sees where it stands, a macro only the top of the template.
    const bool sees_outside = s.kind == Statement::Kind::call;
    return Value::of(Function([this, &s, name, sees_outside, base = base_,
                               depth = scopes_.size()](const Arguments& a) {
      if (++call_depth_ > limits_.depth)
        fail("RecursionError", str("macros call each other more than ", limits_.depth, " deep"));
      Scope scope;
      List rest;
      Dict named;
      for (size_t i = 0; i < a.positional.size(); ++i) {
        if (i < s.parameters.size())
          scope[s.parameters[i].name] = a.positional[i];
        else
          rest.push_back(a.positional[i]);
      }
      for (const auto& argument : a.named) {
        const std::string& key = argument.first;
        const bool known = std::any_of(s.parameters.begin(), s.parameters.end(),
                                       [&](const Parameter& p) { return p.name == key; });
        if (known || key == "caller")
          scope[key] = argument.second;
        else
          named.emplace_back(Value::of(Text(key)), argument.second);
      }
      scope["varargs"] = Value::of(std::move(rest), true);
      scope["kwargs"] = Value::of(std::move(named));
      std::vector<Scope> hidden;
      const size_t outer_base = base_;
      if (sees_outside) {
        // Scopes that were opened since the block was defined are out of sight.
        const size_t keep = std::min(depth, scopes_.size());
        hidden.assign(std::make_move_iterator(scopes_.begin() + std::ptrdiff_t(keep)),
                      std::make_move_iterator(scopes_.end()));
        scopes_.resize(keep);
        base_ = base;
      } else {
        base_ = scopes_.size();
      }
      scopes_.push_back(std::move(scope));
      for (const Parameter& p : s.parameters)
        if (p.otherwise && !scopes_.back().contains(p.name))
          scopes_.back()[p.name] = evaluate(*p.otherwise);
      for (const Parameter& p : s.parameters)
        if (!scopes_.back().contains(p.name)) scopes_.back()[p.name] = Value::undefined(p.name);
      const Value result = Value::of(captured(s.body));
      scopes_.pop_back();
      scopes_.insert(scopes_.end(), std::make_move_iterator(hidden.begin()),
                     std::make_move_iterator(hidden.end()));
      base_ = outer_base;
      --call_depth_;
      return result;
    }));
  }

  const std::string& what_;
  double now_;
  const TemplateLimits& limits_;
  std::vector<Scope> scopes_;  // globals and context, the template's own, then inner ones
  size_t base_ = 0;            // inner scopes below it are out of sight
  Text out_;
  std::vector<std::pair<size_t, size_t>> generated_;
  int call_depth_ = 0, nesting_ = 0;
  bool located_ = false;  // an error on its way out names its line
};

/// Unknown filters and tests are found before a template is used.
void check_names(const Block& block, const std::string& what);
void check_names(const Expression* e, const std::string& what) {
  if (!e) return;
  const bool test = e->op == Op::test || e->op == Op::not_test;
  if (e->op == Op::filter && !has_filter(e->text))
    throw Error(str(what, " line ", e->line, ": TemplateAssertionError: No filter named '",
                    printable(e->text, 40), "'."));
  if (test && !has_test(e->text))
    throw Error(str(what, " line ", e->line, ": TemplateAssertionError: No test named '",
                    printable(e->text, 40), "'."));
  for (const ExpressionPtr& child : e->children) check_names(child.get(), what);
  for (const auto& [name, value] : e->named) check_names(value.get(), what);
}
void check_names(const Block& block, const std::string& what) {
  for (const Statement& s : block) {
    check_names(s.expression.get(), what);
    check_names(s.condition.get(), what);
    for (const Parameter& p : s.parameters) check_names(p.otherwise.get(), what);
    for (const auto& [condition, body] : s.branches) {
      check_names(condition.get(), what);
      check_names(body, what);
    }
    check_names(s.body, what);
    check_names(s.else_body, what);
  }
}

}  // namespace

struct ChatTemplate::Parsed {
  std::string what;
  Block block;
};

ChatTemplate::ChatTemplate(std::string_view source, const std::string& what)
    : parsed_(std::make_unique<Parsed>()) {
  parsed_->what = what;
  parsed_->block = parse_template(source, what);
  check_names(parsed_->block, what);
}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

Rendered ChatTemplate::render(const Value& context, double now,
                              const TemplateLimits& limits) const {
  const Budget budget(limits.steps, limits.output_bytes);
  return Interpreter(parsed_->what, now, limits).run(parsed_->block, context);
}

}  // namespace moe
