// SPDX-License-Identifier: MIT
// moe data poison-scan: rare strings that someone may have planted in training data.
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/base/utf8.h"
#include "moe/data/poison_scan.h"
#include "moe/data/records.h"
#include "moe/report/table.h"

#include "apps/moe/cmd_data_files.h"
#include "apps/moe/command.h"

namespace moe {
namespace {

struct PoisonCommand {
  std::vector<std::string> files;
  std::string on_error = "skip";
  PoisonOptions options;
  bool json = false;
  MachineOptions machine;
};

/// What is scanned: records, or the lines of a text.
struct Scanned {
  struct Document {
    const std::string* file;
    int64_t line;
  };
  std::vector<RecordFile> files;  // own the texts
  std::vector<Document> documents;
  std::vector<PoisonPart> parts;
};

void add_lines(const std::string& file, const Record& record, Scanned& out) {
  int64_t number = 0;
  std::string_view text = record.text;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    out.parts.push_back({line, std::ssize(out.documents)});
    out.documents.push_back({&file, number});
  }
}

void add_record(const std::string& file, const Record& record, Scanned& out) {
  const int64_t document = std::ssize(out.documents);
  out.documents.push_back({&file, record.line});
  if (record.is_text()) out.parts.push_back({record.text, document});
  for (const Json& m : record.messages) {
    const JsonObject& message = m.as_object();
    const Json* content = message.if_contains("content");
    if (!content || !content->is_string()) continue;
    out.parts.push_back({std::string_view(content->as_string()), document,
                         std::string_view(message.at("role").as_string()) == "assistant"});
  }
}

/// The string with some of what stands around it, on one line.
std::string example_of(std::string_view text, const PoisonReport& r) {
  constexpr size_t kAround = 30;  // bytes
  const auto on_border = [&](size_t at) {
    while (at > 0 && at < text.size() && (uint8_t(text[at]) & 0xC0) == 0x80) --at;
    return std::min(at, text.size());
  };
  const size_t from = on_border(r.begin > kAround ? r.begin - kAround : 0);
  const size_t to = on_border(std::min(text.size(), r.end + kAround));
  return printable(text.substr(from, to - from), 200);
}

int run_poison_scan(const PoisonCommand& o) {
  o.machine.apply();
  Scanned scanned;
  scanned.files.reserve(o.files.size());
  for (const std::string& file : o.files) {
    scanned.files.push_back(read_records(file, parse_on_error(o.on_error)));
    for (const Record& record : scanned.files.back().records)
      is_record_file(file) ? add_record(file, record, scanned) : add_lines(file, record, scanned);
  }
  const std::vector<PoisonReport> found = scan_for_poison(scanned.parts, o.options);
  JsonArray rows;
  Table table({"string", "documents", "score", "first seen", "in", "why"});
  for (const PoisonReport& r : found) {
    const PoisonPart& part = scanned.parts[size_t(r.part)];
    const Scanned::Document& d = scanned.documents[size_t(part.document)];
    const std::string example = example_of(part.text, r);
    rows.push_back(JsonObject{{"text", r.text},
                              {"kind", r.kind},
                              {"documents", r.documents},
                              {"occurrences", r.occurrences},
                              {"score", r.score},
                              {"file", *d.file},
                              {"line", d.line},
                              {"example", example},
                              {"reason", r.reason}});
    table.row({printable(r.text, 40), with_commas(r.documents), fmt::format("{:.1f}", r.score),
               str(printable(*d.file), ":", d.line), example, str(r.kind, ": ", r.reason)});
  }
  if (o.json) {
    print_json({{"documents", scanned.documents.size()}, {"reports", rows}});
    return 0;
  }
  const std::string looked =
      str("looked at ", with_commas(std::ssize(scanned.documents)), " documents");
  if (found.empty())
    print_line(looked + ": no string looks planted");
  else
    print_line(str(table.text(), looked, "; from a score of ",
                   fmt::format("{:.0f}", o.options.certain),
                   " on, no natural word is to be expected; of lower ones, look at the places"));
  return 0;
}

}  // namespace

DataFileCommands add_data_poison_command(CLI::App& app) {
  auto o = std::make_shared<PoisonCommand>();
  CLI::App* scan = app.add_subcommand(
      "poison-scan",
      "Strings that may have been planted to trigger a behaviour: rare, oddly spelt, out of place");
  scan->add_option("files", o->files, "files of records; of another file, each line is a document")
      ->required();
  scan->add_option("--reports", o->options.reports,
                   "reports to fill with the most suspicious strings; certain ones are always told")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  scan->add_option("--max-share", o->options.max_share,
                   "what is in a larger share of the documents is no trigger")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  scan->add_option("--on-error", o->on_error, "a record that is wrong: stop, skip or report")
      ->capture_default_str();
  scan->add_flag("--json", o->json, "one JSON object");
  o->machine.add(*scan);
  scan->footer(
      "Examples:\n  moe data poison-scan chats.jsonl\n"
      "  moe data poison-scan web.jsonl.gz books.txt --reports 20 --json");
  return {{scan, [o] { return run_poison_scan(*o); }}};
}

}  // namespace moe
