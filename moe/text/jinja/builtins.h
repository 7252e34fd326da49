// SPDX-License-Identifier: MIT
// Filters, tests and methods.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moe/text/jinja/value.h"

namespace moe::jinja {

/// args.positional[0] is what the filter or test is applied to. Throws Error for an unknown name.
Value apply_filter(const std::string& name, const Arguments& args);
bool apply_test(const std::string& name, const Arguments& args);
bool has_filter(const std::string& name);
bool has_test(const std::string& name);

/// A bound method of a value, or undefined.
Value method_of(const Value& value, const std::string& name);
/// value.name and value[key]; undefined where there is none.
Value attribute_of(const Value& value, const std::string& name);
Value item_of(const Value& value, const Value& key);
/// What a loop goes over. Throws Error where nothing can.
List items_of(const Value& value);
bool contains(const Value& container, const Value& item);
/// <0, 0, >0. Throws Error for what has no order.
int compare(const Value& a, const Value& b);

}  // namespace moe::jinja
