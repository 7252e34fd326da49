// SPDX-License-Identifier: MIT
#include "apps/moe/line_reader.h"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <editline/readline.h>
#include <iostream>

#include "moe/base/progress.h"

#include "apps/moe/command.h"

namespace moe {

std::optional<std::string> read_line(const std::string& prompt) {
  if (!is_terminal(0) || !is_terminal(1)) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  static const bool is_set_up = [] {
    std::setlocale(LC_CTYPE, "");  // so that characters of many bytes are edited whole
    using_history();
    return true;
  }();
  (void)is_set_up;
  char* text = readline(prompt.c_str());
  if (text == nullptr) {
    if (!interrupted()) return std::nullopt;
    std::fputs("\n", stdout);
    return "";
  }
  std::string line = text;
  std::free(text);
  if (!line.empty()) add_history(line.c_str());
  return line;
}

}  // namespace moe
