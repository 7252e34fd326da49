// SPDX-License-Identifier: MIT
// moe data extract: the main text of web pages as records.
#include <memory>

#include "moe/base/compress.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/str.h"
#include "moe/base/utf8.h"
#include "moe/data/html_text.h"
#include "moe/data/records.h"
#include "moe/report/table.h"

#include "apps/moe/cmd_data_files.h"
#include "apps/moe/command.h"

namespace moe {
namespace {

constexpr uint64_t kMaxPage = uint64_t{32} << 20;
constexpr size_t kNamed = 20;  // of the pages without text

struct ExtractCommand {
  std::vector<std::string> files;
  std::string out, on_error = "report";
  int64_t min_characters = 1;
  bool json = false;
};

bool is_page(std::string_view path) {
  for (const std::string_view ending : {".gz", ".zst"})
    if (ends_with(path, ending)) path.remove_suffix(ending.size());
  for (const std::string_view ending : {".html", ".htm", ".xhtml", ".HTML", ".HTM"})
    if (ends_with(path, ending)) return true;
  return false;
}

/// Files as named, and the pages of folders and of those below them.
void find_pages(const std::string& path, int depth, std::vector<std::string>& out) {
  MOE_CHECK(exists(path), "[data extract] ", printable(path), ": no such file or folder");
  MOE_CHECK(depth < 64, "[data extract] ", printable(path), ": folders are nested too deep");
  for (const std::string& name : list_directory(path)) {
    const std::string below = join_path(path, name);
    if (is_directory(below))
      find_pages(below, depth + 1, out);
    else if (is_page(name))
      out.push_back(below);
  }
}

int run_extract(const ExtractCommand& o) {
  const OnError on_error = parse_on_error(o.on_error);
  std::vector<std::string> pages;
  for (const std::string& path : o.files) {
    MOE_CHECK(exists(path), "[data extract] ", printable(path), ": no such file or folder");
    if (is_directory(path))
      find_pages(path, 0, pages);
    else
      pages.push_back(path);
  }
  MOE_CHECK(!pages.empty(),
            "[data extract] no page: the folders hold no .html, .htm or .xhtml file");
  std::string content;
  int64_t n = 0, characters = 0;
  std::vector<std::string> empty, bad;
  for (const std::string& page : pages) {
    const std::string what = "[data extract] " + printable(page);
    try {
      MOE_CHECK(file_size(page) <= kMaxPage, what, ": a file of ", human_bytes(file_size(page)),
                "; pages of at most ", human_bytes(kMaxPage), " are read");
      const HtmlText got = extract_html(decompress(read_file(page), kMaxPage, what), what);
      if (got.text.empty() || count_code_points(got.text) < o.min_characters) {
        empty.push_back(page);
        continue;
      }
      characters += count_code_points(got.text);
      ++n;
      content +=
          to_json_line(JsonObject{{"text", got.text}, {"title", got.title}, {"source", page}}) +
          "\n";
    } catch (const Error& error) {
      if (on_error == OnError::stop) throw;
      if (on_error == OnError::report) log_warning(error.what());
      bad.push_back(page);
    }
  }
  if (n == 0)
    throw Error(str("[data extract] none of ", pages.size(), " pages has a main text (",
                    empty.size(), " hold none, ", bad.size(),
                    " cannot be read); nothing is written"));
  if (!parent_path(o.out).empty()) make_directories(real_fs(), parent_path(o.out));
  write_file_atomic(real_fs(), o.out, content);
  const auto named = [](const std::vector<std::string>& of) {
    return JsonArray(of.begin(), of.begin() + std::ptrdiff_t(std::min(of.size(), kNamed)));
  };
  if (o.json) {
    print_json({{"pages", pages.size()},
                {"records", n},
                {"characters", characters},
                {"empty", empty.size()},
                {"empty_pages", named(empty)},
                {"bad", bad.size()},
                {"bad_pages", named(bad)},
                {"written", o.out}});
    return 0;
  }
  std::string text =
      str("wrote ", o.out, ": ", with_commas(n), " of ", with_commas(std::ssize(pages)), " pages, ",
          with_commas(characters), " characters");
  for (const auto& [label, list] : {std::pair{"without a main text", &empty}, {"not read", &bad}}) {
    if (list->empty()) continue;
    text += str("\n", label, ": ", with_commas(std::ssize(*list)));
    for (size_t i = 0; i < std::min(list->size(), kNamed); ++i)
      text += "\n  " + printable((*list)[i]);
    if (list->size() > kNamed) text += "\n  ...";
  }
  print_line(text);
  return 0;
}

}  // namespace

DataFileCommands add_data_extract_command(CLI::App& app) {
  auto o = std::make_shared<ExtractCommand>();
  CLI::App* extract = app.add_subcommand(
      "extract", "The main text of web pages, without menus, forms and what else is around it");
  extract
      ->add_option("files", o->files,
                   "pages (also .gz, .zst), or folders of .html, .htm and .xhtml files")
      ->required();
  extract->add_option("--out", o->out, "a .jsonl file: text, title and source of each page")
      ->required();
  extract->add_option("--min-chars", o->min_characters, "what has less text counts as empty")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  extract->add_option("--on-error", o->on_error, "a page that cannot be read: stop, skip or report")
      ->capture_default_str();
  extract->add_flag("--json", o->json, "one JSON object");
  extract->footer(
      "Examples:\n  moe data extract site/ --out site.jsonl\n"
      "  moe data extract page.html.gz other.htm --out pages.jsonl --min-chars 200");
  return {{extract, [o] { return run_extract(*o); }}};
}

}  // namespace moe
