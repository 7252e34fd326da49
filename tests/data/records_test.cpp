// SPDX-License-Identifier: MIT
// Every form of record, compressed or not, and every way in which one can be wrong.
#include "moe/data/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "moe/base/compress.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/data/text_files.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string gzipped(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, uLong(text.size())) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = uInt(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = uInt(out.size());
  deflate(&stream, Z_FINISH);
  const size_t size = stream.total_out;
  deflateEnd(&stream);
  return out.substr(0, size);
}
std::string zstandard(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class Records : public testing::Test {
 protected:
  std::string write(const std::string& name, std::string_view text) {
    write_file_atomic(real_fs(), folder_ / name, text);
    return folder_ / name;
  }
  /// The messages of one record, a line each: "user: Hi".
  std::string conversation(const std::string& json) {
    const RecordFile file = read_records(write("one.jsonl", json + "\n"), OnError::stop);
    form_ = file.form;
    std::string out;
    for (const Json& m : file.records.at(0).messages) {
      const JsonObject& o = m.as_object();
      out += str(std::string_view(o.at("role").as_string()), ": ",
                 o.at("content").is_string() ? std::string(o.at("content").as_string())
                                             : to_json_line(o.at("content")));
      if (const Json* calls = o.if_contains("tool_calls")) out += " calls " + to_json_line(*calls);
      out += '|';
    }
    return out;
  }
  std::string wrong(const std::string& json) {
    return error_of([&] { read_records(write("bad.jsonl", "\n" + json + "\n"), OnError::stop); });
  }
  TempFolder folder_;
  std::string form_;
};

TEST_F(Records, EveryFormOfAConversation) {
  EXPECT_EQ(conversation(R"({"instruction": "Add", "input": "1 2", "output": "3"})"),
            "user: Add\n1 2|assistant: 3|");
  EXPECT_EQ(form_, "alpaca");
  EXPECT_EQ(
      conversation(
          R"({"instruction": "Hi", "input": "", "output": "Hello", "system": "S", "history": [["a", "b"]]})"),
      "system: S|user: a|assistant: b|user: Hi|assistant: Hello|");
  EXPECT_EQ(
      conversation(
          R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "system": "S"})"),
      "system: S|user: a|assistant: b|");
  EXPECT_EQ(form_, "sharegpt");
  EXPECT_EQ(
      conversation(
          R"({"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})"),
      "user: a|assistant: b|");
  EXPECT_EQ(form_, "conversations");
  EXPECT_EQ(
      conversation(
          R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})"),
      "system: S|user: a|assistant: b|");
  EXPECT_EQ(form_, "messages");
  EXPECT_EQ(
      conversation(
          R"({"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}"}, {"from": "observation", "value": "1"}, {"from": "gpt", "value": "b"}]})"),
      "user: a|assistant:  calls [{\"type\": \"function\", \"function\": {\"name\": \"f\", "
      "\"arguments\": {}}}]|tool: 1|assistant: b|");
}

TEST_F(Records, TextsInEveryFile) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"a.jsonl", "{\"text\": \"one\"}\n\n{\"text\": \"two\\nlines\"}\n"},
      {"a.ndjson", "{\"text\": \"one\"}\r\n{\"text\": \"two\\nlines\"}"},
      {"a.json", "[{\"text\": \"one\"}, {\"text\": \"two\\nlines\"}]"},
      {"lines.json", "{\"text\": \"one\"}\n{\"text\": \"two\\nlines\"}\n"},
      {"a.csv", "id,text\r\n1,one\r\n2,\"two\nlines\"\r\n"},
      {"a.tsv", "text\tid\none\t1\n\"two\nlines\"\t2\n"},
      {"bom.jsonl", "\xEF\xBB\xBF{\"text\": \"one\"}\n{\"text\": \"two\\nlines\"}\n"}};
  for (const auto& [name, text] : files)
    for (const auto& [ending, bytes] :
         {std::pair{std::string(), text}, {".gz", gzipped(text)}, {".zst", zstandard(text)}}) {
      const RecordFile file = read_records(write(name + ending, bytes), OnError::stop);
      ASSERT_EQ(file.records.size(), 2u) << name + ending;
      EXPECT_EQ(file.records[0].text, "one") << name + ending;
      EXPECT_EQ(file.records[1].text, "two\nlines") << name + ending;
    }
}

TEST_F(Records, CsvAsInRfc4180) {
  const auto rows = parse_csv("a,\"b,\"\"c\"\"\",\n,,x\n\"\"\n\nlast", ',', "x");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].fields, (std::vector<std::string>{"a", "b,\"c\"", ""}));
  EXPECT_EQ(rows[1].fields, (std::vector<std::string>{"", "", "x"}));
  EXPECT_EQ(rows[2].fields, (std::vector<std::string>{"last"}));
  EXPECT_EQ(rows[2].line, 5);
  EXPECT_THAT(error_of([] { parse_csv("a\n\"b", ',', "f"); }),
              HasSubstr("f line 2: a quoted field without its closing quote"));
  EXPECT_THAT(error_of([] { parse_csv("\"a\"b", ',', "f"); }),
              HasSubstr("text behind a closing quote"));
}

TEST_F(Records, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_THAT(wrong("{\"text\": "), HasSubstr("bad.jsonl line 2: JSON"));
  EXPECT_THAT(wrong("[1]"), HasSubstr("line 2: not a JSON object"));
  EXPECT_THAT(wrong("{\"text\": 1}"), HasSubstr("line 2: 'text' is no text"));
  EXPECT_THAT(wrong("{\"text\": \"\"}"), HasSubstr("'text' is empty"));
  EXPECT_THAT(wrong("{\"txt\": \"a\", \"id\": 1}"), HasSubstr("found txt, id"));
  EXPECT_THAT(wrong(R"({"messages": []})"), HasSubstr("'messages' is empty"));
  EXPECT_THAT(wrong(R"({"messages": [{"role": "user", "content": "a"}]})"),
              HasSubstr("no turn of the assistant"));
  EXPECT_THAT(
      wrong(
          R"({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]})"),
      HasSubstr("roles out of order: user in turn 2 follows user"));
  EXPECT_THAT(wrong(R"({"messages": [{"role": "tool", "content": "a"}]})"),
              HasSubstr("tool in turn 1 is the first"));
  EXPECT_THAT(wrong(R"({"messages": [{"role": "owner", "content": "a"}]})"),
              HasSubstr("turn 1 has the role 'owner'"));
  EXPECT_THAT(wrong(R"({"messages": [{"content": "a"}]})"), HasSubstr("turn 1 has no 'role'"));
  EXPECT_THAT(wrong(R"({"messages": [{"role": "user"}]})"), HasSubstr("turn 1 has no 'content'"));
  EXPECT_THAT(wrong(R"({"conversations": [{"from": "human", "value": 5}]})"),
              HasSubstr("the 'value' of turn 1 is no text"));
  EXPECT_THAT(wrong(R"({"instruction": "a", "output": ""})"), HasSubstr("'output' is empty"));
  EXPECT_THAT(wrong(R"({"instruction": "a", "output": "b", "history": [1]})"),
              HasSubstr("[question, answer]"));
  const auto whole = [&](const std::string& name, std::string_view text) {
    return error_of([&] { read_records(write(name, text), OnError::stop); });
  };
  EXPECT_THAT(whole("e.jsonl", ""), HasSubstr("is empty"));
  EXPECT_THAT(whole("e.jsonl", "\n\n"), HasSubstr("holds no record"));
  EXPECT_THAT(whole("e.jsonl", "{\"text\": \"a\"}\n\xFF"),
              HasSubstr("e.jsonl line 2: its byte 0 is not UTF-8"));
  for (const auto& [name, text] :
       {std::pair{
            "b.jsonl",
            std::string(
                "{\"text\": \"a\"}\n{\"text\": \"\xFF\"}\n{\"text\": \"\0\"}\n{\"text\": \"b\"}",
                55)},
        std::pair{"b.csv", std::string("text\na\n\xFF\nc\0\nb\n", 14)}}) {
    const RecordFile file = read_records(write(name, text), OnError::skip);
    ASSERT_EQ(file.records.size(), 2u) << name;
    EXPECT_EQ(file.records[1].text, "b");
    EXPECT_EQ(file.n_bad, 2);
    EXPECT_THAT(file.bad[1], HasSubstr("is NUL"));
  }
  EXPECT_THAT(whole("e.txt", std::string_view("ab\n\0c", 5)), HasSubstr("byte 3 (line 2) is NUL"));
  EXPECT_THAT(whole("e.csv", "id,words\n1,a\n"), HasSubstr("found id, words"));
  EXPECT_THAT(whole("e.csv", "id,text\n1\n"), HasSubstr("line 2: 1 fields, but 2 columns"));
  EXPECT_THAT(whole("e.json", "5"), HasSubstr("is a list"));
  for (const std::string& bytes : {gzipped("{\"text\": \"a\"}"), zstandard("{\"text\": \"a\"}")}) {
    EXPECT_THAT(whole("e.jsonl.gz", bytes.substr(0, bytes.size() - 6)),
                HasSubstr("ends too early"));
    std::string damaged = bytes;
    damaged[4] = char(damaged[4] ^ 0xFF);
    damaged[bytes.size() / 2] = char(damaged[bytes.size() / 2] ^ 0x55);
    EXPECT_NE(whole("e.jsonl.gz", damaged), "");
  }
  EXPECT_THAT(error_of([] { decompress(gzipped(std::string(1 << 20, 'a')), 1000, "f"); }),
              HasSubstr("more than 1000 B"));
  EXPECT_THAT(error_of([] { decompress(zstandard(std::string(1 << 20, 'a')), 1000, "f"); }),
              HasSubstr("more than 1000 B"));
}

TEST_F(Records, BadOnesAreLeftOutWhereAsked) {
  const std::string path =
      write("mixed.jsonl", "{\"text\": \"a\"}\n{\"text\": 1}\nnothing\n{\"text\": \"b\"}\n");
  const RecordFile file = read_records(path, OnError::skip);
  EXPECT_EQ(file.records.size(), 2u);
  EXPECT_EQ(file.n_bad, 2);
  ASSERT_EQ(file.bad.size(), 2u);
  EXPECT_THAT(file.bad[0], HasSubstr("line 2: 'text' is no text"));
  EXPECT_THAT(file.bad[1], HasSubstr("line 3"));
  EXPECT_THAT(error_of([&] { read_records(write("all.jsonl", "x\ny\n"), OnError::skip); }),
              HasSubstr("none of 2 records is good; mend them, the first: line 1"));
  EXPECT_THROW(parse_on_error("never"), Error);
}

TEST_F(Records, NulIsRefusedHoweverItIsSpelt) {
  EXPECT_THAT(error_of([&] {
                read_records(write("n.jsonl", "{\"text\": \"a\\u0000b\"}\n"), OnError::stop);
              }),
              HasSubstr("n.jsonl line 1: 'text' holds NUL"));
  EXPECT_THAT(error_of([&] {
                read_records(
                    write("m.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\\u0000\"}\n"),
                    OnError::stop);
              }),
              HasSubstr("m.jsonl line 1: turn 2 holds NUL"));
}

TEST_F(Records, TheWeightOfAnAnswerIsZeroOrOne) {
  const std::string head = R"({"messages": [{"role": "user", "content": "a"}, )";
  const auto weight_of = [&](const std::string& weight) {
    const RecordFile file =
        read_records(write("w.jsonl", head + R"({"role": "assistant", "content": "b", "weight": )" +
                                          weight + "}]}\n"),
                     OnError::stop);
    return to_json_line(file.records[0].messages[1].as_object());
  };
  EXPECT_THAT(weight_of("0"), HasSubstr("\"weight\": 0"));
  EXPECT_THAT(weight_of("1"), Not(HasSubstr("weight")));
  EXPECT_THAT(error_of([&] { weight_of("0.5"); }),
              HasSubstr("line 1: the 'weight' of turn 2 is not 0 or 1"));
}

TEST_F(Records, SplitKeepsCopiesOnOneSide) {
  std::string text;
  for (int copy = 0; copy < 3; ++copy)
    for (int i = 0; i < 50; ++i) text += str("{\"text\": \"document ", i, "\"}\n");
  const TextSplit split = read_text_files(write("d.jsonl", text), 0.2);
  EXPECT_TRUE(split.many);
  EXPECT_EQ(split.train.size() + split.validation.size(), 150u);
  EXPECT_GE(split.validation.size(), 28u);
  size_t both = 0;
  for (const std::string& v : split.validation)
    both += size_t(std::count(split.train.begin(), split.train.end(), v) > 0);
  EXPECT_EQ(both, 0u);
  EXPECT_THAT(error_of([&] {
                read_text_files(write("c.jsonl", R"({"instruction": "a", "output": "b"})"), 0);
              }),
              HasSubstr("a conversation (alpaca)"));
}

TEST_F(Records, GzipMembersFollowEachOther) {
  EXPECT_EQ(decompress(gzipped("ab") + gzipped("cd"), 100, "x"), "abcd");
  EXPECT_EQ(decompress("plain", 100, "x"), "plain");
  EXPECT_EQ(decompress(zstandard("ab") + zstandard("cd"), 100, "x"), "abcd");
}

TEST_F(Records, QuestionsPromptsAndParagraphs) {
  EXPECT_EQ(conversation(R"({"question": "1+1?", "answer": "2"})"), "user: 1+1?|assistant: 2|");
  EXPECT_EQ(form_, "question");
  EXPECT_EQ(conversation(R"({"prompt": "a", "completion": "b"})"), "user: a|assistant: b|");
  const RecordFile file = read_records(
      write("poems.json", R"([{"title": "T", "author": "x", "paragraphs": ["one", "two"]},
                              {"title": "U", "content": ["three"]}])"),
      OnError::stop);
  EXPECT_EQ(file.form, "paragraphs");
  EXPECT_EQ(file.records.at(0).text, "T\none\ntwo");
  EXPECT_EQ(file.records.at(1).text, "U\nthree");
  EXPECT_THAT(error_of([&] {
                read_records(write("bad.jsonl", R"({"question": "x", "answer": ""})"),
                             OnError::stop);
              }),
              HasSubstr("line 1: the question or its answer is empty"));
  EXPECT_THAT(
      error_of([&] { read_records(write("bad.jsonl", R"({"paragraphs": [1]})"), OnError::stop); }),
      HasSubstr("a paragraph is no text"));
}

TEST_F(Records, FieldsOfAnExamAreKept) {
  const RecordFile file = read_records(
      write("exam.jsonl",
            R"({"question": "a", "answer": "b", "subject": "s", "expect": ["b", "c"]})"),
      OnError::stop);
  EXPECT_EQ(file.records.at(0).subject, "s");
  EXPECT_EQ(file.records.at(0).expect, (std::vector<std::string>{"b", "c"}));
}

}  // namespace
}  // namespace moe
