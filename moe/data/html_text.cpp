// SPDX-License-Identifier: MIT
#include "moe/data/html_text.h"

#include <algorithm>
#include <libxml/HTMLparser.h>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/base/utf8.h"
#include "moe/data/html_encoding.h"

namespace moe {
namespace {

constexpr size_t kMaxPage = size_t{32} << 20;

std::string_view name_of(const xmlNode* node) {
  return node->name ? reinterpret_cast<const char*>(node->name) : "";
}

std::string attribute(const xmlNode* node, const char* name) {
  for (const xmlAttr* a = node->properties; a; a = a->next) {
    if (std::string_view(reinterpret_cast<const char*>(a->name)) != name) continue;
    std::string out;
    for (const xmlNode* t = a->children; t; t = t->next)
      if (t->content) out += reinterpret_cast<const char*>(t->content);
    for (char& c : out)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    return out;
  }
  return "";
}

bool has_attribute(const xmlNode* node, const char* name) {
  for (const xmlAttr* a = node->properties; a; a = a->next)
    if (std::string_view(reinterpret_cast<const char*>(a->name)) == name) return true;
  return false;
}

using Names = std::set<std::string_view>;

/// Never a part of what is read.
const Names kDropped = {"script", "style",  "noscript", "template", "iframe",   "object", "embed",
                        "svg",    "canvas", "button",   "select",   "textarea", "input",  "option",
                        "audio",  "video",  "map",      "dialog",   "head",     "nav",    "footer",
                        "aside",  "menu",   "frameset", "applet",   "datalist", "math"};
const Names kBlocks = {
    "address", "article", "blockquote", "body",       "center",  "dd",      "details", "div",
    "dl",      "dt",      "figure",     "figcaption", "form",    "h1",      "h2",      "h3",
    "h4",      "h5",      "h6",         "header",     "hgroup",  "hr",      "html",    "li",
    "main",    "ol",      "p",          "pre",        "section", "summary", "table",   "tbody",
    "td",      "tfoot",   "th",         "thead",      "tr",      "ul",      "caption", "fieldset",
    "legend",  "listing", "xmp",        "plaintext",  "dir"};
/// Parts of words of classes and ids that name what stands around a text.
constexpr std::string_view kAround[] = {
    "comment",     "sidebar",    "side-bar",   "share",      "sharing",     "social",   "related",
    "footer",      "navbar",     "navigation", "menu",       "breadcrumb",  "cookie",   "consent",
    "advert",      "sponsor",    "promo",      "newsletter", "subscribe",   "signup",   "popup",
    "modal",       "pagination", "pager",      "masthead",   "toolbar",     "banner",   "recommend",
    "outbrain",    "taboola",    "skip-link",  "login",      "copyright",   "disqus",   "tag-list",
    "taglist",     "byline",     "post-meta",  "entry-meta", "printfooter", "catlinks", "mw-jump",
    "editsection", "toc"};

/// Whether a class or an id says that this is no main text. Short words must stand by themselves.
bool is_around(const xmlNode* node) {
  for (const char* which : {"class", "id"}) {
    const std::string value = attribute(node, which);
    for (size_t i = 0; i < value.size();) {
      const size_t end = std::min(value.find_first_of(" \t\r\n", i), value.size());
      const std::string word = value.substr(i, end - i);
      i = end + 1;
      if (word == "nav" || word == "ad" || word == "ads" || word == "meta" || word == "sidebar")
        return true;
      for (const std::string_view part : kAround) {
        const size_t at = word.find(part);
        if (at == std::string::npos) continue;
        const auto is_letter = [&](size_t k) {
          return k < word.size() && word[k] >= 'a' && word[k] <= 'z';
        };
        if (part.size() <= 5 && ((at > 0 && is_letter(at - 1)) || is_letter(at + part.size())))
          continue;  // "stock" holds "toc"
        return true;
      }
    }
  }
  return false;
}

bool is_hidden(const xmlNode* node) {
  if (has_attribute(node, "hidden")) return true;
  if (!node->properties) return false;
  if (attribute(node, "aria-hidden") == "true") return true;
  std::string style;
  for (const char c : attribute(node, "style"))
    if (c != ' ' && c != '\t' && c != '\n') style += c;
  return style.find("display:none") != std::string::npos ||
         style.find("visibility:hidden") != std::string::npos;
}

bool has_around_role(const xmlNode* node) {
  static const Names kRoles = {"navigation", "banner",  "contentinfo", "complementary",
                               "search",     "dialog",  "alertdialog", "menu",
                               "menubar",    "toolbar", "tablist",     "form"};
  return kRoles.contains(attribute(node, "role"));
}

enum class Kind { paragraph, heading, item, cell, preformatted };

/// A run of text between borders of blocks.
struct Block {
  Kind kind = Kind::paragraph;
  std::string text = {};
  int64_t characters = 0, linked = 0;  // without white space
  int group = 0;                       // of a list or a table; 0: none
  bool new_row = false;                // the first cell of a row
  bool keep = false;
};

int64_t visible_characters(std::string_view text) {
  int64_t n = 0;
  for (const char c : text)
    n += (static_cast<uint8_t>(c) & 0xC0) != 0x80 && static_cast<uint8_t>(c) > ' ';
  return n;
}

/// Counts the characters of text below each node into its _private, to see what dropping it would
/// cost.
int64_t count_text(xmlNode* node) {
  int64_t n = 0;
  for (xmlNode* child = node->children; child; child = child->next) {
    if (child->type == XML_TEXT_NODE && child->content)
      n += visible_characters(reinterpret_cast<const char*>(child->content));
    else if (child->type == XML_ELEMENT_NODE && !kDropped.contains(name_of(child)))
      n += count_text(child);
  }
  node->_private = reinterpret_cast<void*>(static_cast<intptr_t>(n));
  return n;
}

int64_t text_below(const xmlNode* node) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(node->_private));
}

class Blocks {
 public:
  /// root: what is read; whole: characters of the page.
  Blocks(const xmlNode* root, int64_t whole) : root_(root), whole_(whole) {
    visit(root, {});
    end_block();
  }
  std::vector<Block> take() { return std::move(blocks_); }

 private:
  struct Inside {
    Kind kind = Kind::paragraph;
    int group = 0;
    bool link = false, pre = false, article = false;
  };

  bool is_dropped(const xmlNode* node, const Inside& in) const {
    const std::string_view name = name_of(node);
    if (kDropped.contains(name) || is_hidden(node)) return true;
    if (node == root_ || name == "html" || name == "body" || name == "main" || name == "article")
      return false;
    // A page's header holds its menu, an article's its title; a form may hold a whole page, and so
    // may a box with any name.
    const bool around = (name == "header" && !in.article) || name == "form" ||
                        has_around_role(node) || is_around(node);
    return around && 2 * text_below(node) < whole_;
  }

  void visit(const xmlNode* node, Inside in) {
    for (const xmlNode* child = node->children; child; child = child->next) {
      if (child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE) {
        if (child->content) add_text(reinterpret_cast<const char*>(child->content), in);
        continue;
      }
      if (child->type != XML_ELEMENT_NODE || is_dropped(child, in)) continue;
      const std::string_view name = name_of(child);
      if (name == "br") {
        if (!block_.text.empty()) block_.text += '\n';
        continue;
      }
      Inside inner = in;
      if (name == "a") inner.link = true;
      if (name == "article" || name == "main") inner.article = true;
      const bool is_block = kBlocks.contains(name);
      if (is_block) {
        end_block();
        enter(name, inner);
        block_.kind = inner.kind;
        block_.group = inner.group;
      }
      visit(child, inner);
      if (is_block) {
        end_block();
        block_.kind = in.kind;
        block_.group = in.group;
      }
    }
  }

  void enter(std::string_view name, Inside& in) {
    if (name.size() == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6')
      in.kind = Kind::heading;
    else if (name == "ul" || name == "ol" || name == "dl" || name == "table") {
      if (in.group == 0) in.group = ++n_groups_;
    } else if (name == "li" || name == "dt" || name == "dd")
      in.kind = Kind::item;
    else if (name == "td" || name == "th")
      in.kind = Kind::cell;
    else if (name == "tr")
      new_row_ = true;
    else if (name == "pre" || name == "listing" || name == "xmp") {
      in.kind = Kind::preformatted;
      in.pre = true;
    }
  }

  void add_text(std::string_view text, const Inside& in) {
    const size_t before = block_.text.size();
    if (in.pre) {
      block_.text += text;
    } else {
      for (const char c : text) {
        const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
        if (!space)
          block_.text += c;
        else if (!block_.text.empty() && block_.text.back() != ' ' && block_.text.back() != '\n')
          block_.text += ' ';
      }
    }
    const int64_t n = visible_characters(std::string_view(block_.text).substr(before));
    block_.characters += n;
    if (in.link) block_.linked += n;
  }

  void end_block() {
    if (block_.characters > 0) {
      block_.new_row = std::exchange(new_row_, false);
      blocks_.push_back(std::move(block_));
    }
    block_ = {};
  }

  const xmlNode* root_;
  int64_t whole_;
  std::vector<Block> blocks_;
  Block block_;
  int n_groups_ = 0;
  bool new_row_ = false;
};

void find_all(const xmlNode* node, std::vector<const xmlNode*>& mains,
              std::vector<const xmlNode*>& articles) {
  for (const xmlNode* child = node->children; child; child = child->next) {
    if (child->type != XML_ELEMENT_NODE || kDropped.contains(name_of(child)) || is_hidden(child))
      continue;
    const std::string_view name = name_of(child);
    if (name == "main" || attribute(child, "role") == "main")
      mains.push_back(child);
    else if (name == "article" || attribute(child, "itemprop") == "articlebody")
      articles.push_back(child);
    find_all(child, mains, articles);
  }
}

/// The element that HTML itself says holds the main text; the root where none does.
const xmlNode* find_main(const xmlNode* root, int64_t whole) {
  std::vector<const xmlNode*> mains, articles;
  find_all(root, mains, articles);
  const auto holds_much = [&](const xmlNode* node) { return 4 * text_below(node) > whole; };
  // One article with most of the text; several are a list of them.
  const xmlNode* best = nullptr;
  int64_t most = 0, all = 0;
  for (const xmlNode* a : articles) {
    const int64_t n = text_below(a);
    all += n;
    if (n > most) {
      most = n;
      best = a;
    }
  }
  if (best && 10 * most > 6 * all && holds_much(best)) return best;
  if (mains.size() == 1 && holds_much(mains[0])) return mains[0];
  return root;
}

/// Chinese and its like say in a character what takes others three.
int64_t weight_of(const Block& b) {
  int64_t wide = 0;
  for (size_t i = 0; i < b.text.size();) {
    const CodePoint c = code_point_at(b.text, i);
    wide += c.value >= 0x2E80 && c.value < 0xFF00;
    i += c.size;
  }
  return b.characters + 2 * wide;
}

/// Marks the blocks to keep. trusted: within what HTML calls the main text.
void choose(std::vector<Block>& blocks, bool trusted) {
  enum class Class { bad, near, good };
  std::vector<Class> classes(blocks.size(), Class::near);
  // Lists and tables are judged as a whole.
  struct Sum {
    int64_t weight = 0, characters = 0, linked = 0, n = 0;
  };
  std::map<int, Sum> sums;
  for (const Block& b : blocks) {
    Sum& s = sums[b.group];
    s.weight += weight_of(b);
    s.characters += b.characters;
    s.linked += b.linked;
    ++s.n;
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& b = blocks[i];
    Sum s{weight_of(b), b.characters, b.linked, 1};
    if (b.group) s = sums[b.group];
    const double links = double(s.linked) / double(s.characters);
    if (b.kind == Kind::heading && b.group == 0)
      classes[i] = Class::near;
    else if (links > (trusted ? 0.6 : 0.4))
      classes[i] = Class::bad;
    else if (b.kind == Kind::preformatted && s.weight >= 20)
      classes[i] = Class::good;
    else if (s.weight >= (trusted && !b.group ? 40 : 60) && links < 0.3 &&
             (!b.group || s.weight / s.n >= 12))
      classes[i] = Class::good;
    else if (trusted && links < 0.3)
      classes[i] = Class::near;
  }
  // A short block goes with the good ones around it, a heading with a good one below it.
  const auto good_within = [&](size_t i, int step, int distance) {
    int passed = 0;
    for (auto k = std::ptrdiff_t(i) + step; k >= 0 && k < std::ssize(blocks); k += step) {
      const Block& b = blocks[size_t(k)];
      if (classes[size_t(k)] == Class::good) return true;
      if (classes[size_t(k)] == Class::bad && !trusted) return false;
      // The rest of its own list or table stands or falls with it.
      if ((b.group == 0 || b.group != blocks[i].group) && ++passed > distance) return false;
    }
    return false;
  };
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (classes[i] == Class::good)
      blocks[i].keep = true;
    else if (classes[i] == Class::near && blocks[i].kind == Kind::heading)
      blocks[i].keep = good_within(i, 1, 2);
    else if (classes[i] == Class::near)
      blocks[i].keep = trusted ? good_within(i, -1, 8) || good_within(i, 1, 4)
                               : good_within(i, -1, 3) && good_within(i, 1, 3);
  }
}

std::string_view trimmed(std::string_view text, bool lines_only) {
  const std::string_view blanks = lines_only ? "\r\n" : " \t\r\n";
  const size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

std::string written(const std::vector<Block>& blocks) {
  std::string out;
  const Block* before = nullptr;
  for (const Block& b : blocks) {
    if (!b.keep) continue;
    const std::string_view text = trimmed(b.text, b.kind == Kind::preformatted);
    if (text.empty()) continue;
    const bool same = before && b.group && before->group == b.group && before->kind == b.kind;
    if (same && b.kind == Kind::cell && !b.new_row)
      out += " | ";
    else if (same && (b.kind == Kind::cell || b.kind == Kind::item))
      out += '\n';
    else if (before)
      out += "\n\n";
    if (b.kind == Kind::item) out += "- ";
    out += text;
    before = &b;
  }
  return out;
}

const xmlNode* find_first(const xmlNode* node, std::string_view name) {
  for (const xmlNode* child = node->children; child; child = child->next) {
    if (child->type != XML_ELEMENT_NODE || name_of(child) == "svg") continue;
    if (name_of(child) == name) return child;
    if (const xmlNode* found = find_first(child, name)) return found;
  }
  return nullptr;
}

std::string plain_text(const xmlNode* node) {
  std::string out;
  for (const xmlNode* child = node->children; child; child = child->next) {
    if (child->type == XML_TEXT_NODE && child->content)
      out += reinterpret_cast<const char*>(child->content);
    else if (child->type == XML_ELEMENT_NODE)
      out += plain_text(child);
  }
  std::string spaced;
  for (const char c : out) {
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!space)
      spaced += c;
    else if (!spaced.empty() && spaced.back() != ' ')
      spaced += ' ';
  }
  return trim(spaced);
}

}  // namespace

HtmlText extract_html(std::string_view page, const std::string& what) {
  MOE_CHECK(page.size() <= kMaxPage, what, ": a page of ", human_bytes(page.size()), "; at most ",
            human_bytes(kMaxPage), " are read");
  const std::string utf8 = html_to_utf8(page);
  HtmlText out;
  if (utf8.find_first_not_of(" \t\r\n") == std::string::npos) return out;
  MOE_CHECK(utf8.size() < size_t{1} << 30, what, ": the page is too large");

  const std::unique_ptr<htmlParserCtxt, void (*)(htmlParserCtxtPtr)> parser(htmlNewParserCtxt(),
                                                                            htmlFreeParserCtxt);
  MOE_CHECK(parser != nullptr, what, ": no memory for the HTML parser");
  // Without XML_PARSE_HUGE libxml2 stops at a depth of 256; HTML has no entities of its own making.
  const std::unique_ptr<xmlDoc, void (*)(xmlDocPtr)> document(
      htmlCtxtReadMemory(parser.get(), utf8.data(), static_cast<int>(utf8.size()), nullptr, "UTF-8",
                         HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                             HTML_PARSE_NONET | HTML_PARSE_COMPACT),
      xmlFreeDoc);
  MOE_CHECK(parser->disableSAX == 0, what,
            ": elements are nested too deep to be read (more than 256)");
  xmlNode* root = document ? xmlDocGetRootElement(document.get()) : nullptr;
  if (!root) return out;
  if (const xmlNode* title = find_first(root, "title")) out.title = plain_text(title);
  if (out.title.empty())
    if (const xmlNode* heading = find_first(root, "h1")) out.title = plain_text(heading);

  const int64_t whole = count_text(root);
  const xmlNode* main = find_main(root, whole);
  std::vector<Block> blocks = Blocks(main, main == root ? whole : text_below(main)).take();
  choose(blocks, main != root);
  out.text = written(blocks);
  return out;
}

}  // namespace moe
