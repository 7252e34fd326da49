// SPDX-License-Identifier: MIT
// Aligned plain-text tables, for every command that prints figures.
#pragma once

#include <string>
#include <vector>

namespace moe {

/// Rows of text under a header. A column whose filled cells are all numbers (a sign, digits, then
/// anything: "1,234",
/// "-0.5", "12%", "1.2 GiB"; also "nan", "inf", "-") is aligned right, every other column left.
class Table {
 public:
  /// header: one name per column, at least one.
  explicit Table(std::vector<std::string> header);
  /// Appends a row; missing cells at the end stay empty. Throws Error when there are more cells
  /// than columns.
  void row(std::vector<std::string> cells);
  /// Header, a rule of dashes, the rows; two spaces between columns, no space at the end of a line.
  /// Control characters and broken UTF-8 are escaped; a column is as wide as its widest cell.
  std::string text() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace moe
