// SPDX-License-Identifier: MIT
// Chat templates: the part of Jinja that they use (jinja2 3.1 with Hugging Face's settings),
// without access to anything but the context, with bounds on steps, depth and output. `safe`
// changes nothing: no output is HTML.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moe/text/jinja/value.h"

namespace moe {

struct TemplateLimits {
  int64_t steps = 10'000'000;
  size_t output_bytes = size_t{16} << 20;
  int depth = 100;  // of macro calls within each other
};

/// A rendered text, and where each part came from.
struct Rendered {
  jinja::Text text = {};
  /// What stood within {% generation %}, as [begin, end) in bytes.
  std::vector<std::pair<size_t, size_t>> generated = {};
};

class ChatTemplate {
 public:
  /// Throws Error with the line for what is wrong or unknown. what: how errors call the source.
  ChatTemplate(std::string_view source, const std::string& what);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// context: a dict of the variables. now: seconds since 1970 in UTC, for strftime_now. Throws
  /// Error "[what] line 3: UndefinedError: ..." as jinja2 would, and where a limit is reached.
  Rendered render(const jinja::Value& context, double now, const TemplateLimits& limits = {}) const;

 private:
  struct Parsed;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace moe
