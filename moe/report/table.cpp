// SPDX-License-Identifier: MIT
#include "moe/report/table.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/report/display_width.h"

namespace moe {
namespace {

constexpr size_t kMaxCellChars = 10'000;  // printable() cuts there: no honest cell is longer

bool looks_like_number(const std::string& cell) {
  if (cell == "-" || cell == "nan" || cell == "inf" || cell == "-inf") return true;
  size_t i = cell[0] == '-' || cell[0] == '+' ? 1 : 0;
  if (i < cell.size() && cell[i] == '.') ++i;
  return i < cell.size() && cell[i] >= '0' && cell[i] <= '9';
}

}  // namespace

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {
  MOE_CHECK(!header_.empty(), "[table] a table needs at least one column");
  for (std::string& name : header_) name = printable(name, kMaxCellChars);
}

void Table::row(std::vector<std::string> cells) {
  MOE_CHECK(cells.size() <= header_.size(), "[table] a row has ", cells.size(),
            " cells, the table has ", header_.size(), " columns");
  cells.resize(header_.size());
  for (std::string& cell : cells) cell = printable(cell, kMaxCellChars);
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  const size_t n_columns = header_.size();
  std::vector<int> widths(n_columns);
  std::vector<bool> right(n_columns);
  for (size_t j = 0; j < n_columns; ++j) {
    widths[j] = display_width(header_[j]);
    bool any = false, numbers = true;
    for (const auto& cells : rows_) {
      widths[j] = std::max(widths[j], display_width(cells[j]));
      if (cells[j].empty()) continue;
      any = true;
      numbers = numbers && looks_like_number(cells[j]);
    }
    right[j] = any && numbers;
  }
  std::string out;
  const auto put_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t j = 0; j < n_columns; ++j) {
      if (j > 0) line += "  ";
      const std::string pad(static_cast<size_t>(widths[j] - display_width(cells[j])), ' ');
      line += right[j] ? pad + cells[j] : cells[j] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  put_line(header_);
  std::vector<std::string> rule;
  for (const int width : widths) rule.emplace_back(static_cast<size_t>(width), '-');
  put_line(rule);
  for (const auto& cells : rows_) put_line(cells);
  return out;
}

}  // namespace moe
