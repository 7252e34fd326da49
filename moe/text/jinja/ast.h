// SPDX-License-Identifier: MIT
// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/text/jinja/value.h"

namespace moe::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Op {
  constant,
  name,
  list,
  tuple,
  dict,
  attribute,  // children[0].text
  item,       // children[0][children[1]]
  slice,      // children[0][children[1]:children[2]:children[3]], any but the first null
  call,
  filter,
  test,
  not_test,
  negative,
  positive,
  logical_not,
  logical_and,
  logical_or,
  conditional,
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  concatenate,
  compare  // children and `operators` between them
};

struct Expression {
  Op op = Op::constant;
  int line = 0;
  std::string text = {};  // name, attribute, filter or test
  Value value = {};       // constant
  std::vector<ExpressionPtr> children = {};
  std::vector<std::string> operators = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};  // arguments
};

struct Statement;
using Block = std::vector<Statement>;

struct Parameter {
  std::string name;
  ExpressionPtr otherwise;  // null: undefined
};

struct Statement {
  enum class Kind {
    text,        // `text` as it stands
    print,       // expression
    condition,   // branches: (expression or null, block)
    loop,        // targets in expression [if condition]: body, else_body
    assign,      // targets, or name.attribute, = expression; or a block
    macro,       // name(parameters): body
    call,        // {% call(parameters) expression %} body
    filter,      // {% filter expression %} body
    generation,  // body
    scope,       // {% with targets = ... %} body
    stop_loop,
    next_loop
  };
  Kind kind = Kind::text;
  int line = 0;
  std::string text = {};
  std::vector<std::string> targets = {};
  std::string attribute = {};  // of targets[0]
  ExpressionPtr expression = {}, condition = {};
  std::vector<Parameter> parameters = {};
  std::vector<std::pair<ExpressionPtr, Block>> branches = {};
  Block body = {}, else_body = {};
};

/// Throws Error: "[what] line 3: TemplateSyntaxError: ...".
Block parse_template(std::string_view source, const std::string& what);

}  // namespace moe::jinja
