// SPDX-License-Identifier: MIT
#include "moe/data/html_text.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/data/html_encoding.h"

namespace moe {
namespace {

HtmlText extract(std::string_view page) { return extract_html(page, "[test]"); }

std::map<std::string, int64_t> words_of(std::string_view text) {
  std::map<std::string, int64_t> out;
  std::string word;
  for (const char c : std::string(text) + " ") {
    if (c == ' ' || c == '\n' || c == '\t' || c == '|') {
      if (!word.empty() && word != "-") ++out[word];
      word.clear();
    } else {
      word += c;
    }
  }
  return out;
}

struct Page {
  const char* name;
  const char* html;
  const char* main;
};

// Pages as the web has them, written for this test.
const Page kPages[] = {
    {"a newspaper's article with HTML5's elements",
     R"(<!DOCTYPE html><html><head><title>River floods the old town - The Valley Post</title>
<script>var x = "<p>not text</p>";</script><style>p { color: red }</style></head><body>
<header class="site-header"><a href="/">The Valley Post</a><nav><ul><li><a href="/news">News</a></li><li><a href="/sport">Sport</a></li><li><a href="/weather">Weather</a></li></ul></nav></header>
<main><article><header><h1>River floods the old town</h1><p class="byline">By Jane Miller, 3 May</p></header>
<p>The river rose by two metres on Sunday night and flooded most of the old town, the fire service said. Nobody was hurt.</p>
<p>Some <a href="/p/1">forty families</a> spent the night in the school, where volunteers served soup and bread until the morning.</p>
<figure><img src="a.jpg" alt="water"><figcaption>The market square on Monday.</figcaption></figure>
<h2>What comes next</h2>
<p>The mayor expects the water to fall within three days. He asked people to keep away from the bridges, two of which may be damaged.</p>
<div class="share-buttons"><a href="#">Share on Chirper</a> <a href="#">Send by mail</a></div>
<blockquote><p>We have seen worse in 1987, and we built it all up again.</p></blockquote></article></main>
<aside><h3>Most read</h3><ul><li><a href="/1">Ten tips for dry cellars</a></li><li><a href="/2">Bridge closed for repairs</a></li></ul></aside>
<div class="comments"><h3>Comments (2)</h3><p>First! This is what I always said about that river and nobody would listen to me at all.</p></div>
<footer><p>Copyright The Valley Post. All rights reserved. <a href="/imprint">Imprint</a></p></footer></body></html>)",
     R"(River floods the old town
The river rose by two metres on Sunday night and flooded most of the old town, the fire service said. Nobody was hurt.
Some forty families spent the night in the school, where volunteers served soup and bread until the morning.
The market square on Monday. What comes next
The mayor expects the water to fall within three days. He asked people to keep away from the bridges, two of which may be damaged.
We have seen worse in 1987, and we built it all up again.)"},
    {"an old page of nested tables",
     R"(<HTML><HEAD><TITLE>How to sharpen a plane iron</TITLE></HEAD><BODY BGCOLOR=white>
<TABLE WIDTH=100%><TR><TD><A HREF=index.html>Home</A> | <A HREF=tools.html>Tools</A> | <A HREF=wood.html>Wood</A> | <A HREF=links.html>Links</A></TD></TR></TABLE>
<TABLE><TR><TD WIDTH=120><FONT SIZE=1><A HREF=1.html>Saws</A><BR><A HREF=2.html>Chisels</A><BR><A HREF=3.html>Planes</A></FONT></TD>
<TD><H1>How to sharpen a plane iron</H1>
<P>A dull iron tears the wood instead of cutting it. Sharpening takes ten minutes once you have done it a few times, and it needs no machine.
<P>Begin with the back. It has to be flat for the last centimetre, or no edge that you put on the bevel will last. Rub it on the coarse stone until the scratches run all over.
<P>Then turn it over and hold the bevel flat on the stone at twenty-five degrees. Draw it back and forth until you feel a burr along the whole edge, then go on to the fine stone.
</TD></TR></TABLE>
<HR><CENTER><FONT SIZE=1>You are visitor 10482. <A HREF=mailto:bob@example.org>Mail me</A></FONT></CENTER></BODY></HTML>)",
     R"(How to sharpen a plane iron
A dull iron tears the wood instead of cutting it. Sharpening takes ten minutes once you have done it a few times, and it needs no machine.
Begin with the back. It has to be flat for the last centimetre, or no edge that you put on the bevel will last. Rub it on the coarse stone until the scratches run all over.
Then turn it over and hold the bevel flat on the stone at twenty-five degrees. Draw it back and forth until you feel a burr along the whole edge, then go on to the fine stone.)"},
    {"a page of documentation with code, a list and a table",
     R"(<!doctype html><html lang=en><head><meta charset=utf-8><title>sort - manual</title></head><body>
<div id="sidebar"><ul><li><a href=a>cat</a><li><a href=b>head</a><li><a href=c>tail</a><li><a href=d>uniq</a></ul></div>
<div id="content"><h1>sort</h1><p>The program sort writes the lines of all its files in order to standard output. It compares whole lines unless keys are given.</p>
<pre>
$ sort -n numbers.txt
1
  2
10
</pre>
<h2>Options</h2><ul><li>-n compares numbers by their value, not by their digits;</li><li>-r turns the order round, the largest comes first;</li><li>-u writes one of several lines that are equal.</li></ul>
<h2>Exit status</h2><table><tr><th>code</th><th>meaning</th></tr><tr><td>0</td><td>all files were read and sorted</td></tr><tr><td>2</td><td>a file could not be opened or the disk was full</td></tr></table>
<p>A line without its end at the end of a file gets one, so that joined files do not run into each other.</p></div>
<div class="footer">Generated on 3 May. <a href=x>Report a mistake</a></div></body></html>)",
     R"(sort
The program sort writes the lines of all its files in order to standard output. It compares whole lines unless keys are given.
$ sort -n numbers.txt
1
  2
10
Options
-n compares numbers by their value, not by their digits; -r turns the order round, the largest comes first; -u writes one of several lines that are equal.
Exit status code meaning 0 all files were read and sorted 2 a file could not be opened or the disk was full
A line without its end at the end of a file gets one, so that joined files do not run into each other.)"},
    {"a blog in boxes without meaning",
     R"(<html><head><title>Walking to the lighthouse | Notes</title></head><body><div class="wrap"><div class="top"><a href="/">Notes</a> <a href="/about">About</a> <a href="/archive">Archive</a></div>
<div class="cookie-notice">We use cookies to make this site better for you. By going on you agree to our policy. <button>OK</button></div>
<div class="post"><div class="h">Walking to the lighthouse</div>
<div>It was raining when we left the village, and the path along the cliffs was slippery, so that we walked slowly and did not talk much.<br><br>After an hour the sun came out. From the last hill we saw the lighthouse, white and very small, and behind it nothing but water.</div>
<div>The keeper's daughter sells tea and cake from a window. We stayed until the evening boat came and took us back along the coast in half an hour.</div></div>
<div class="related"><b>You may also like</b> <a href="/a">Ten days in the north</a> <a href="/b">What to pack for rain</a></div>
<form action="/s"><label>Search</label><input name=q><input type=submit value=Go></form>
<p style="display: none">Hidden words for search engines: lighthouse walk cliffs cheap hotel best price today only for you.</p>
<div class="bottom"><a href="/privacy">Privacy</a> <a href="/terms">Terms</a> <a href="/contact">Contact</a></div></div></body></html>)",
     R"(It was raining when we left the village, and the path along the cliffs was slippery, so that we walked slowly and did not talk much.
After an hour the sun came out. From the last hill we saw the lighthouse, white and very small, and behind it nothing but water.
The keeper's daughter sells tea and cake from a window. We stayed until the evening boat came and took us back along the coast in half an hour.)"},
    {"Chinese",
     "<html><head><meta charset='utf-8'><title>\xE9\x95\xBF\xE5\x9F\x8E</title></head><body><div "
     "class=nav><a href=1>\xE9\xA6\x96\xE9\xA1\xB5</a> <a href=2>\xE6\x96\xB0\xE9\x97\xBB</a></div>"
     "<div><p>"
     "\xE9\x95\xBF\xE5\x9F\x8E\xE6\x98\xAF\xE4\xB8\xAD\xE5\x9B\xBD\xE5\x8F\xA4\xE4\xBB\xA3\xE7\x9A"
     "\x84\xE9\x98\xB2\xE5\xBE\xA1\xE5\xB7\xA5\xE7\xA8\x8B\xEF\xBC\x8C\xE8\xA5\xBF\xE8\xB5\xB7\xE5"
     "\x98\x89\xE5\xB3\xAA\xE5\x85\xB3\xEF\xBC\x8C\xE4\xB8\x9C\xE8\x87\xB3\xE5\xB1\xB1\xE6\xB5\xB7"
     "\xE5\x85\xB3\xE3\x80\x82</p></div></body></html>",
     "\xE9\x95\xBF\xE5\x9F\x8E\xE6\x98\xAF\xE4\xB8\xAD\xE5\x9B\xBD\xE5\x8F\xA4\xE4\xBB\xA3\xE7\x9A"
     "\x84\xE9\x98\xB2\xE5\xBE\xA1\xE5\xB7\xA5\xE7\xA8\x8B\xEF\xBC\x8C\xE8\xA5\xBF\xE8\xB5\xB7\xE5"
     "\x98\x89\xE5\xB3\xAA\xE5\x85\xB3\xEF\xBC\x8C\xE4\xB8\x9C\xE8\x87\xB3\xE5\xB1\xB1\xE6\xB5\xB7"
     "\xE5\x85\xB3\xE3\x80\x82"},
};

TEST(HtmlText, PrecisionAndRecallOfWordsOnKnownPages) {
  for (const Page& page : kPages) {
    const auto got = words_of(extract(page.html).text), want = words_of(page.main);
    int64_t n_got = 0, n_want = 0, both = 0;
    for (const auto& [word, n] : got) n_got += n;
    for (const auto& [word, n] : want) {
      n_want += n;
      if (const auto found = got.find(word); found != got.end()) both += std::min(n, found->second);
    }
    EXPECT_GE(double(both), 0.9 * double(n_got)) << page.name << "\n" << extract(page.html).text;
    EXPECT_GE(double(both), 0.9 * double(n_want)) << page.name << "\n" << extract(page.html).text;
  }
}

TEST(HtmlText, KeepsTheFormOfListsCodeAndTables) {
  const HtmlText got = extract(kPages[2].html);
  EXPECT_EQ(got.title, "sort - manual");
  EXPECT_NE(got.text.find("$ sort -n numbers.txt\n1\n  2\n10"), std::string::npos) << got.text;
  EXPECT_NE(got.text.find("\n- -r turns the order"), std::string::npos) << got.text;
  EXPECT_NE(got.text.find("code | meaning\n0 | all files"), std::string::npos) << got.text;
  EXPECT_NE(got.text.find("\n\nOptions\n\n"), std::string::npos) << got.text;
}

TEST(HtmlText, DropsWhatNobodyReads) {
  const std::string text =
      "The text that matters is long enough to be taken for the main text of this page, surely.";
  for (const char* other :
       {"<script>alert(1)</script>", "<style>b{}</style>", "<nav>alert(1)</nav>",
        "<footer>alert(1)</footer>", "<p hidden>alert(1)</p>",
        "<p style='DISPLAY : none'>alert(1)</p>", "<p aria-hidden=true>alert(1)</p>",
        "<noscript>alert(1)</noscript>", "<template><p>alert(1)</p></template>",
        "<div role=navigation>alert(1)</div>", "<div class='site-footer'>alert(1)</div>",
        "<select><option>alert(1)</select>", "<!-- alert(1) -->", "<textarea>alert(1)</textarea>"})
    EXPECT_EQ(extract(str("<body>", other, "<p>", text, "</p>", other)).text, text) << other;
}

TEST(HtmlText, PagesWithoutAMainTextAreEmpty) {
  for (const char* page :
       {"", " \n", "<html></html>", "<ul><li><a href=1>One</a><li><a href=2>Two</a></ul>",
        "<script>x</script>", "<", "<!DOCTYPE html>"})
    EXPECT_EQ(extract(page).text, "") << page;
}

TEST(HtmlText, ReadsWhatIsBroken) {
  const std::string text =
      "A paragraph that nobody closed, with <i>one <b>two</i> three</b> tags that cross each "
      "other.";
  const std::string got =
      extract(
          "<p>" + text +
          "<p>And a second one of about the same length, so that it is kept as well by the rules.")
          .text;
  EXPECT_NE(got.find("with one two three tags that cross"), std::string::npos) << got;
  EXPECT_NE(got.find("\n\nAnd a second one"), std::string::npos) << got;
}

TEST(HtmlText, HostilePagesAreRefusedOrReadInLittleTime) {
  const double begin = real_clock().monotonic_seconds();
  const auto repeated = [](std::string_view part, int64_t n) {
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += part;
    return out;
  };
  EXPECT_THROW(extract(repeated("<div>", 100'000) + "deep"), Error);
  EXPECT_THROW(extract(std::string(size_t{33} << 20, 'x')), Error);
  // Entities are those of HTML alone: none is declared, none is loaded.
  const std::string bomb =
      "<!DOCTYPE html [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c SYSTEM "
      "'file:///etc/passwd'>]>"
      "<p>Some text around an entity &b; and a file &c; that is long enough to be kept by the "
      "rules here.</p>";
  const std::string got = extract(bomb).text;
  EXPECT_EQ(got.find("lollol"), std::string::npos) << got;
  EXPECT_EQ(got.find("root:"), std::string::npos) << got;
  extract(repeated("<a href=x class=ad>", 20'000));
  extract(repeated("<p class=comment>x", 50'000));
  extract(repeated("<table><tr><td>", 80));
  extract(repeated("&amp", 500'000));
  extract(repeated("<!--", 200'000));
  extract("<p title='" + std::string(4 << 20, 'y') + "'>");
  EXPECT_LT(real_clock().monotonic_seconds() - begin, 30);
}

TEST(HtmlEncoding, IsTheDeclaredOneOrGuessed) {
  EXPECT_EQ(declared_encoding("<meta charset=\"GBK\">"), "gbk");
  EXPECT_EQ(
      declared_encoding("<META http-equiv=Content-Type content='text/html; charset=Shift_JIS'>"),
      "shift_jis");
  EXPECT_EQ(declared_encoding("<p>charset=x"), "");
  EXPECT_EQ(declared_encoding("\xEF\xBB\xBF<meta charset=gbk>"), "utf-8");
  EXPECT_EQ(declared_encoding("<meta charset=utf-16>"), "utf-8");

  EXPECT_EQ(html_to_utf8("caf\xC3\xA9"), "caf\xC3\xA9");  // no declaration: well-formed UTF-8
  EXPECT_EQ(html_to_utf8("caf\xE9 \x93hi\x94"), "caf\xC3\xA9 \xE2\x80\x9Chi\xE2\x80\x9D");
  EXPECT_EQ(html_to_utf8("<meta charset=iso-8859-1>\x80"), "<meta charset=iso-8859-1>\xE2\x82\xAC");
  EXPECT_EQ(html_to_utf8("<meta charset=gb2312>\xD6\xD0"), "<meta charset=gb2312>\xE4\xB8\xAD");
  EXPECT_EQ(html_to_utf8("<meta charset=shift_jis>\x93\xFA"),
            "<meta charset=shift_jis>\xE6\x97\xA5");
  EXPECT_EQ(html_to_utf8(std::string_view("\xFF\xFEh\0i\0", 6)), "hi");
  EXPECT_EQ(html_to_utf8("<meta charset=no-such>caf\xE9"), "<meta charset=no-such>caf\xC3\xA9");
  EXPECT_EQ(html_to_utf8("<meta charset=utf-8>a\xFFz"), "<meta charset=utf-8>a\xEF\xBF\xBDz");
  EXPECT_EQ(html_to_utf8(std::string_view("a\0z", 3)), "a\xEF\xBF\xBDz");
  EXPECT_EQ(html_to_utf8("<meta charset=utf-8//TRANSLIT>x"), "<meta charset=utf-8//TRANSLIT>x");
}

}  // namespace
}  // namespace moe
