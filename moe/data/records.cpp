// SPDX-License-Identifier: MIT
#include "moe/data/records.h"

#include <algorithm>

#include "moe/base/compress.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/mmap_file.h"
#include "moe/data/parquet.h"

namespace moe {
namespace {

constexpr uint64_t kMaxText = uint64_t{64} << 30;  // of one file, decompressed
constexpr size_t kMaxLine = size_t{256} << 20;
constexpr size_t kMaxBadLines = 20;  // that are told one by one

std::string_view without_compression(std::string_view path) {
  for (const std::string_view ending : {".gz", ".zst"})
    if (ends_with(path, ending)) return path.substr(0, path.size() - ending.size());
  return path;
}

const std::string& text_field(const JsonObject& o, const char* key, std::string& storage) {
  const Json* value = o.if_contains(key);
  storage.clear();
  if (!value || value->is_null()) return storage;
  MOE_CHECK(value->is_string(), "'", key, "' is no text");
  storage = std::string_view(value->as_string());
  return storage;
}

JsonObject message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

/// instruction, input, output, system, history: [[question, answer], ...]
void read_alpaca(const JsonObject& o, Record& out) {
  std::string instruction, input, output, system;
  text_field(o, "instruction", instruction);
  text_field(o, o.contains("input") ? "input" : "query", input);
  text_field(o, o.contains("output") ? "output" : "response", output);
  text_field(o, "system", system);
  MOE_CHECK(!instruction.empty() || !input.empty(), "'instruction' and 'input' are empty");
  MOE_CHECK(!output.empty(), "'output' is empty");
  if (!system.empty()) out.messages.push_back(message("system", system));
  if (const Json* history = o.if_contains("history"); history && !history->is_null()) {
    MOE_CHECK(history->is_array(), "'history' is no list");
    for (const Json& turn : history->as_array()) {
      const JsonArray* pair = turn.if_array();
      MOE_CHECK(pair && pair->size() == 2 && (*pair)[0].is_string() && (*pair)[1].is_string(),
                "'history' holds something that is not [question, answer]");
      out.messages.push_back(message("user", std::string_view((*pair)[0].as_string())));
      out.messages.push_back(message("assistant", std::string_view((*pair)[1].as_string())));
    }
  }
  if (!instruction.empty() && !input.empty()) instruction += '\n';
  out.messages.push_back(message("user", instruction + input));
  out.messages.push_back(message("assistant", output));
}

std::string_view role_of(std::string_view from) {
  for (const auto& [name, role] : {std::pair{"human", "user"},
                                   {"user", "user"},
                                   {"gpt", "assistant"},
                                   {"assistant", "assistant"},
                                   {"chatgpt", "assistant"},
                                   {"bard", "assistant"},
                                   {"bing", "assistant"},
                                   {"model", "assistant"},
                                   {"system", "system"},
                                   {"developer", "system"},
                                   {"tool", "tool"},
                                   {"observation", "tool"},
                                   {"ipython", "tool"},
                                   {"function_call", "function_call"}})
    if (from == name) return role;
  return "";
}

/// Turns as {role_key, text_key}.
void read_turns(const JsonArray& turns, const char* role_key, const char* text_key, Record& out) {
  for (size_t i = 0; i < turns.size(); ++i) {
    const JsonObject* turn = turns[i].if_object();
    MOE_CHECK(turn, "turn ", i + 1, " is no object");
    const Json* from = turn->if_contains(role_key);
    MOE_CHECK(from && from->is_string(), "turn ", i + 1, " has no '", role_key, "'");
    const std::string_view role = role_of(std::string_view(from->as_string()));
    MOE_CHECK(
        !role.empty(), "turn ", i + 1, " has the role '",
        printable(std::string_view(from->as_string()), 30),
        "'; known are system, user (human), assistant (gpt), tool (observation), function_call");
    JsonObject m{{"role", role}};
    const Json* content = turn->if_contains(text_key);
    const bool has_calls = turn->contains("tool_calls") && !turn->at("tool_calls").is_null();
    MOE_CHECK(content || has_calls, "turn ", i + 1, " has no '", text_key, "'");
    if (role == "function_call") {
      MOE_CHECK(content->is_string(), "turn ", i + 1, " has a call that is no text");
      const Json call =
          parse_json(std::string_view(content->as_string()), str("the call of turn ", i + 1), 16);
      m["role"] = "assistant";
      m["content"] = "";
      JsonArray calls;
      for (const Json& one : call.is_array() ? call.as_array() : JsonArray{call})
        calls.push_back(JsonObject{{"type", "function"}, {"function", one}});
      m["tool_calls"] = std::move(calls);
    } else {
      const bool good = !content || content->is_string() || content->is_array() ||
                        (content->is_null() && role == "assistant");
      MOE_CHECK(good, "the '", text_key, "' of turn ", i + 1, " is no text");
      m["content"] = content ? *content : Json("");
      for (const char* key : {"reasoning_content", "tool_calls", "tool_call_id", "name"})
        if (const Json* value = turn->if_contains(key); value && !value->is_null()) {
          // MiniMind keeps calls as a text that holds JSON.
          if (std::string_view(key) == "tool_calls" && value->is_string())
            m[key] = parse_json(std::string_view(value->as_string()), "'tool_calls'", 16);
          else
            m[key] = *value;
        }
    }
    if (const Json* weight = turn->if_contains("weight"); weight && !weight->is_null()) {
      MOE_CHECK(weight->is_number() &&
                    (weight->to_number<double>() == 0 || weight->to_number<double>() == 1),
                "the 'weight' of turn ", i + 1, " is not 0 or 1");
      if (weight->to_number<double>() == 0) m["weight"] = 0;
    }
    out.messages.push_back(std::move(m));
  }
}

/// JSON can spell NUL, which no text holds.
void check_text(std::string_view text, const std::string& what) {
  MOE_CHECK(text.find('\0') == std::string_view::npos, what, " holds NUL (\\u0000)");
}

/// system? (user | tool+) assistant ... ; at least one answer, and nothing else at the end.
void check_order(const JsonArray& messages) {
  std::string_view last;
  bool answered = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string_view role = messages[i].as_object().at("role").as_string();
    const bool good = role == "system" ? i == 0
                      : role == "user" ? last.empty() || last == "system" || last == "assistant"
                      : role == "assistant" ? last == "user" || last == "tool" ||
                                                  last == "assistant" || last == "system"
                                            : last == "assistant" || last == "tool";
    MOE_CHECK(good, "roles out of order: ", role, " in turn ", i + 1,
              last.empty() ? " is the first" : str(" follows ", last));
    answered = answered || role == "assistant";
    last = role;
  }
  MOE_CHECK(answered, "the conversation has no turn of the assistant");
}

}  // namespace

OnError parse_on_error(const std::string& name) {
  if (name == "stop") return OnError::stop;
  if (name == "skip") return OnError::skip;
  if (name == "report") return OnError::report;
  throw Error(str("on-error is '", printable(name, 30), "', not stop, skip or report"),
              ExitCode::usage);
}

bool is_record_file(std::string_view path) {
  const std::string_view name = without_compression(path);
  for (const char* ending : {".jsonl", ".ndjson", ".json", ".csv", ".tsv"})
    if (ends_with(name, ending)) return true;
  return ends_with(path, ".parquet");
}

bool is_text_file(std::string_view path) { return ends_with(without_compression(path), ".txt"); }

namespace {

/// A whole file, decompressed, without a byte order mark.
std::string read_bytes(const std::string& path) {
  const MmapFile file(path);
  std::string text =
      decompress({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                 kMaxText, "[data] " + printable(path));
  if (starts_with(text, "\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

void check_file_text(std::string_view text, const std::string& what) {
  const size_t bad = std::min(first_invalid_utf8(text), text.find('\0'));
  if (bad == std::string::npos) return;
  const int64_t line = 1 + std::count(text.begin(), text.begin() + std::ptrdiff_t(bad), '\n');
  throw Error(str(what, ": byte ", bad, " (line ", line,
                  text[bad] == '\0' ? ") is NUL, which no text holds; is this a binary file?"
                                    : ") is not UTF-8 text; convert the file (iconv -t UTF-8)"));
}

}  // namespace

std::string read_text(const std::string& path) {
  std::string text = read_bytes(path);
  check_file_text(text, "[data] " + printable(path));
  return text;
}

void check_record_text(std::string_view text) {
  const size_t bad = std::min(first_invalid_utf8(text), text.find('\0'));
  if (bad != std::string::npos)
    throw Error(str("its byte ", bad,
                    text[bad] == '\0' ? " is NUL, which no text holds"
                                      : " is not UTF-8 text; convert the file (iconv -t UTF-8)"));
}

Record parse_record(const JsonObject& o, std::string& form) {
  Record out;
  const auto list = [&](const char* key) -> const JsonArray* {
    const Json* value = o.if_contains(key);
    if (!value || value->is_null()) return nullptr;
    MOE_CHECK(value->is_array(), "'", key, "' is no list");
    MOE_CHECK(!value->as_array().empty(), "'", key, "' is empty");
    return &value->as_array();
  };
  if (const JsonArray* messages = list("messages")) {
    form = "messages";
    read_turns(*messages, "role", "content", out);
  } else if (const JsonArray* turns = list("conversations")) {
    const JsonObject* first = (*turns)[0].if_object();
    const bool openai = first && first->contains("role");
    form = openai ? "conversations" : "sharegpt";
    std::string system;
    if (!text_field(o, "system", system).empty()) out.messages.push_back(message("system", system));
    read_turns(*turns, openai ? "role" : "from", openai ? "content" : "value", out);
  } else if (o.contains("instruction")) {
    form = "alpaca";
    read_alpaca(o, out);
  } else if ((o.contains("question") && o.contains("answer")) ||
             (o.contains("prompt") && o.contains("completion"))) {
    form = o.contains("question") ? "question" : "prompt";
    std::string question, answer;
    text_field(o, form.c_str(), question);
    text_field(o, o.contains("question") ? "answer" : "completion", answer);
    MOE_CHECK(!question.empty() && !answer.empty(), "the question or its answer is empty");
    out.messages = {message("user", question), message("assistant", answer)};
  } else if (const JsonArray* lines = list(o.contains("paragraphs") ? "paragraphs" : "content")) {
    form = "paragraphs";
    text_field(o, "title", out.text);
    for (const Json& line : *lines) {
      MOE_CHECK(line.is_string(), "a paragraph is no text");
      if (!out.text.empty()) out.text += '\n';
      out.text += std::string_view(line.as_string());
    }
    MOE_CHECK(!out.text.empty(), "the paragraphs are empty");
    check_text(out.text, "a paragraph");
    return out;
  } else if (o.contains("text")) {
    form = "text";
    text_field(o, "text", out.text);
    MOE_CHECK(!out.text.empty(), "'text' is empty");
    check_text(out.text, "'text'");
    return out;
  } else {
    std::vector<std::string> keys;
    for (const auto& entry : o)
      if (keys.size() < 8) keys.push_back(printable(std::string_view(entry.key()), 30));
    throw Error(
        str("no field that is known: wanted text, messages, conversations, instruction, question "
            "or paragraphs, found ",
            keys.empty() ? "nothing" : join(keys, ", ")));
  }
  if (const Json* tools = o.if_contains("tools"); tools && !tools->is_null())
    out.tools = tools->is_string() ? parse_json(std::string_view(tools->as_string()), "'tools'", 16)
                                   : *tools;
  text_field(o, "subject", out.subject);
  if (const JsonArray* expected = list("expect"))
    for (const Json& e : *expected) {
      MOE_CHECK(e.is_string(), "'expect' holds something that is no text");
      out.expect.emplace_back(e.as_string());
    }
  check_order(out.messages);
  for (size_t i = 0; i < out.messages.size(); ++i) {
    const Json* content = out.messages[i].as_object().if_contains("content");
    if (content && content->is_string()) check_text(content->as_string(), str("turn ", i + 1));
  }
  return out;
}

std::vector<CsvRow> parse_csv(std::string_view text, char separator, const std::string& what) {
  std::vector<CsvRow> rows;
  int64_t line = 1;
  for (size_t i = 0; i < text.size();) {
    CsvRow row{{}, line};
    for (bool more = true; more;) {
      std::string field;
      if (text[i] == '"') {
        const int64_t first = line;
        for (++i;; ++i) {
          MOE_CHECK(i < text.size(), what, " line ", first,
                    ": a quoted field without its closing quote");
          if (text[i] == '\n') ++line;
          if (text[i] != '"') {
            field += text[i];
          } else if (i + 1 < text.size() && text[i + 1] == '"') {
            field += text[++i];
          } else {
            ++i;
            break;
          }
        }
        MOE_CHECK(i >= text.size() || text[i] == separator || text[i] == '\n' || text[i] == '\r',
                  what, " line ", line, ": text behind a closing quote");
      } else {
        while (i < text.size() && text[i] != separator && text[i] != '\n' && text[i] != '\r')
          field += text[i++];
      }
      row.fields.push_back(std::move(field));
      more = i < text.size() && text[i] == separator;
      if (more && ++i == text.size()) {
        row.fields.emplace_back();
        more = false;
      }
    }
    if (i < text.size() && text[i] == '\r') ++i;
    if (i < text.size() && text[i] == '\n') {
      ++i;
      ++line;
    }
    if (row.fields.size() > 1 || !row.fields[0].empty()) rows.push_back(std::move(row));
  }
  return rows;
}

namespace {

/// Takes records one by one and does with wrong ones as asked.
class Collector {
 public:
  Collector(const std::string& path, OnError on_error)
      : what_("[data] " + printable(path)), on_error_(on_error) {}

  template <class Parse>
  void add(int64_t line, Parse&& parse) {
    try {
      std::string form;
      Record record = parse(form);
      record.line = line;
      if (out_.form.empty()) out_.form = form;
      out_.records.push_back(std::move(record));
    } catch (const Error& error) {
      const std::string problem = str(what_, " line ", line, ": ", error.what());
      if (on_error_ == OnError::stop)
        throw Error(problem + "; mend it, or leave such records out with on-error skip");
      if (++out_.n_bad <= int64_t(kMaxBadLines)) {
        out_.bad.push_back(str("line ", line, ": ", error.what()));
        if (on_error_ == OnError::report) log_warning(problem);
      }
    }
  }
  RecordFile finish() {
    if (out_.n_bad > 0 && !out_.records.empty())
      log_warning(str(what_, ": ", out_.n_bad, " records are wrong and left out, ",
                      out_.records.size(), " are good"));
    MOE_CHECK(!out_.records.empty(), what_,
              out_.n_bad > 0 ? str(": none of ", out_.n_bad,
                                   " records is good; mend them, the first: ", out_.bad.front())
                             : ": the file holds no record; give one with text in it");
    return std::move(out_);
  }
  const std::string& what() const { return what_; }

 private:
  std::string what_;
  OnError on_error_;
  RecordFile out_;
};

void read_json_lines(std::string_view text, Collector& collector) {
  int64_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (ends_with(line, "\r")) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    collector.add(line_number, [&](std::string& form) {
      check_record_text(line);
      MOE_CHECK(line.size() <= kMaxLine, "a line of ", human_bytes(line.size()), "; at most ",
                human_bytes(kMaxLine), " are read");
      const Json json = parse_json(line, "JSON", 16);
      MOE_CHECK(json.is_object(), "not a JSON object");
      return parse_record(json.as_object(), form);
    });
  }
}

void read_json_list(std::string_view text, Collector& collector) {
  const Json json = parse_json(text, collector.what(), 16);
  const JsonArray* list = json.if_array();
  MOE_CHECK(list, collector.what(),
            ": a .json file of records is a list; for one record a line name it .jsonl");
  for (size_t i = 0; i < list->size(); ++i)
    collector.add(int64_t(i) + 1, [&](std::string& form) {
      MOE_CHECK((*list)[i].is_object(), "not a JSON object");
      return parse_record((*list)[i].as_object(), form);
    });
}

void read_table(std::string_view text, char separator, Collector& collector) {
  const std::vector<CsvRow> rows = parse_csv(text, separator, collector.what());
  if (rows.empty()) return;
  const std::vector<std::string>& names = rows[0].fields;
  const bool known = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name == "text" || name == "instruction" || name == "prompt";
  });
  MOE_CHECK(known, collector.what(),
            ": the first line names the columns; wanted is one called text, or instruction and "
            "output, found ",
            printable(join(names, ", "), 100));
  for (size_t i = 1; i < rows.size(); ++i)
    collector.add(rows[i].line, [&](std::string& form) {
      MOE_CHECK(rows[i].fields.size() == names.size(), rows[i].fields.size(), " fields, but ",
                names.size(), " columns");
      for (const std::string& field : rows[i].fields) check_record_text(field);
      JsonObject o;
      for (size_t k = 0; k < names.size(); ++k) o[names[k]] = rows[i].fields[k];
      return parse_record(o, form);
    });
}

/// The rows of a Parquet file; their number stands for the line.
RecordFile read_parquet(const std::string& path, Collector collector) {
  const MmapFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  // A dictionary makes rows of a few bits, but text that repeats itself a thousandfold is no text.
  const uint64_t most = std::min<uint64_t>(kMaxText, 1000 * bytes.size() + (64 << 20));
  const std::vector<std::optional<std::string>> rows =
      read_parquet_text(bytes, "text", most, collector.what());
  for (size_t i = 0; i < rows.size(); ++i)
    collector.add(int64_t(i) + 1, [&](std::string& form) {
      MOE_CHECK(rows[i] && !rows[i]->empty(), "'text' is ", rows[i] ? "empty" : "null");
      MOE_CHECK(first_invalid_utf8(*rows[i]) == std::string::npos, "'text' is not UTF-8");
      MOE_CHECK(rows[i]->find('\0') == std::string::npos, "'text' holds NUL bytes");
      form = "text";
      Record record;
      record.text = *rows[i];
      return record;
    });
  return collector.finish();
}

}  // namespace

RecordFile read_records(const std::string& path, OnError on_error) {
  Collector collector(path, on_error);
  const std::string_view name = without_compression(path);
  if (ends_with(name, ".parquet")) return read_parquet(path, std::move(collector));
  // Of lines and rows each is checked by itself: one that is broken is one wrong record.
  std::string text = read_bytes(path);
  MOE_CHECK(!text.empty(), collector.what(), ": the file is empty; give one with text in it");
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_list =
      ends_with(name, ".json") && !(first != std::string::npos && text[first] == '{');
  if (is_list || is_text_file(path) || !is_record_file(path))
    check_file_text(text, collector.what());
  if (ends_with(name, ".jsonl") || ends_with(name, ".ndjson")) {
    read_json_lines(text, collector);
  } else if (ends_with(name, ".json")) {
    // Many name a file of lines so.
    if (is_list)
      read_json_list(text, collector);
    else
      read_json_lines(text, collector);
  } else if (ends_with(name, ".csv")) {
    read_table(text, ',', collector);
  } else if (ends_with(name, ".tsv")) {
    read_table(text, '\t', collector);
  } else {
    collector.add(1, [&](std::string& form) {
      form = "text";
      Record record;
      record.text = text;
      return record;
    });
  }
  return collector.finish();
}

}  // namespace moe
