// SPDX-License-Identifier: MIT
// Plain-text tables and the HTML page.
#include "moe/report/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/report/html.h"
#include "moe/report/line_chart.h"

#include "xml_check.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Table, NumbersStandRightAndWordsLeft) {
  Table table({"parameter", "n", "share"});
  table.row({"embed", "98,304", "12.5%"});
  table.row({"a long name", "1", "-"});
  EXPECT_EQ(table.text(),
            "parameter         n  share\n"
            "-----------  ------  -----\n"
            "embed        98,304  12.5%\n"
            "a long name       1      -\n");
}

TEST(Table, OneWordMakesAColumnText) {
  Table table({"value"});
  table.row({"1"});
  table.row({"none"});
  EXPECT_EQ(table.text(), "value\n-----\n1\nnone\n");
}

TEST(Table, AlignsByColumnsNotBytes) {
  Table table({"name", "n"});
  table.row({"größe", "1"});
  table.row({"专家", "22"});
  table.row({"abcdef", "333"});
  EXPECT_EQ(table.text(),
            "name      n\n"
            "------  ---\n"
            "größe     1\n"
            "专家     22\n"
            "abcdef  333\n");
}

TEST(Table, MissingCellsAreEmptyAndLinesHaveNoTrailingSpaces) {
  Table table({"a", "b"});
  table.row({"x"});
  table.row({});
  EXPECT_EQ(table.text(), "a  b\n-  -\nx\n\n");
}

TEST(Table, WithoutRowsIsItsHeader) { EXPECT_EQ(Table({"a", "bc"}).text(), "a  bc\n-  --\n"); }

TEST(Table, CellsCannotSendEscapesOrBreakLines) {
  Table table({"name"});
  table.row({"\x1b[31mred\n\xff"});
  EXPECT_EQ(table.text(), "name\n-------------------\n\\x1B[31mred\\x0A\\xFF\n");
}

TEST(Table, RefusesTooManyCellsAndNoColumns) {
  Table table({"a"});
  EXPECT_THROW(table.row({"1", "2"}), Error);
  EXPECT_THROW(Table({}), Error);
}

TEST(HtmlPage, EscapesTextAndEmbedsPictures) {
  const std::string svg = line_chart({.title = "loss",
                                      .x_label = "step",
                                      .y_label = "loss",
                                      .series = {{.name = "s", .xs = {1, 2}, .ys = {2, 1}}}});
  const std::string page =
      html_page("<script>alert(1)</script>",
                std::vector<HtmlSection>{{.heading = "a & b", .text = "x < y\n\x01", .svg = svg}});
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("<h2>a &amp; b</h2>"));
  EXPECT_THAT(page, HasSubstr("<pre>x &lt; y\n\xef\xbf\xbd</pre>"));
  EXPECT_THAT(page, HasSubstr(svg));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

TEST(HtmlPage, EmptyPartsAreLeftOut) {
  const std::string page = html_page("t", std::vector<HtmlSection>(1));
  EXPECT_THAT(page, Not(HasSubstr("<h2>")));
  EXPECT_THAT(page, Not(HasSubstr("<pre>")));
}

}  // namespace
}  // namespace moe
