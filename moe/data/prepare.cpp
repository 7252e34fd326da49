// SPDX-License-Identifier: MIT
#include "moe/data/prepare.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <set>

#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/base/utf8.h"
#include "moe/data/chat_dataset.h"
#include "moe/data/dataset.h"
#include "moe/data/document_encoder.h"
#include "moe/data/record_spool.h"
#include "moe/data/record_stream.h"
#include "moe/io/byte_sink.h"
#include "moe/io/checksum.h"
#include "moe/text/chat_template_files.h"
#include "moe/text/encode_batch.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"

namespace moe {
namespace {

constexpr uint64_t kSpoolMemory = uint64_t{32} << 20;
constexpr size_t kBatchBytes = size_t{4} << 20, kBatchRecords = 4096;  // encoded at once

enum Kind : uint32_t { text_record, text_file, chat_record };

struct InputFile {
  std::string path;
  bool is_records, in_folder;
};

/// Removes what was begun unless it was kept.
class TemporaryFolder {
 public:
  TemporaryFolder(Fs& fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  void make() { make_directories(fs_, path_); }
  ~TemporaryFolder() {
    if (kept_) return;
    try {
      remove_all(fs_, path_);
    } catch (...) {  // the disk is failing; the first error is the one to report
    }
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  void move_to(const std::string& to) {
    fs_.sync_directory(path_);
    fs_.remove_directory(to);  // an empty one
    fs_.rename(path_, to);
    kept_ = true;
    fs_.sync_directory(parent_path(to).empty() ? "." : parent_path(to));
  }

 private:
  Fs& fs_;
  std::string path_;
  bool kept_ = false;
};

/// One long text as ids, by all threads where the tokenizer allows a cut at a line's end.
class TextEncoder {
 public:
  TextEncoder(const Tokenizer& tokenizer, ShardWriter& to, bool at_once)
      : tokenizer_(tokenizer), to_(to), in_parts_(!at_once && tokenizer.cuts_at_lines()) {}

  void add(std::string_view more) {
    text_ += more;
    if (in_parts_ && text_.size() >= kBatchBytes) encode_parts();
  }
  /// The text that is left, which is all of it when it may not be cut.
  std::string take_rest() { return std::move(text_); }
  void finish() {
    if (done_bytes_ > 0)
      for_each_encoded({text_});
    else
      to_.add(encode_text(tokenizer_, text_));
    text_.clear();
  }

 private:
  void encode_parts() {
    constexpr size_t kPart = size_t{256} << 10;
    std::vector<std::string_view> parts;
    size_t begin = 0;
    for (;;) {
      const std::string_view rest = std::string_view(text_).substr(begin);
      // What was searched before holds no place to cut at; the last character may begin one.
      const size_t from = std::max(kPart, begin == 0 && searched_ > 8 ? searched_ - 8 : 0);
      if (rest.size() <= from) break;
      const size_t end = line_cut(rest, from);
      if (end == rest.size()) break;
      parts.push_back(rest.substr(0, end));
      begin += end;
    }
    for_each_encoded(parts);
    text_.erase(0, begin);
    searched_ = text_.size();
  }
  void for_each_encoded(const std::vector<std::string_view>& parts) {
    std::vector<std::vector<TokenId>> ids(parts.size());
    std::vector<std::string> problems(parts.size());
    parallel_for(std::ssize(parts), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        try {
          ids[size_t(i)] = tokenizer_.encode(parts[size_t(i)]);
        } catch (const Error& error) {
          problems[size_t(i)] = error.what();
        }
      }
    });
    for (size_t i = 0; i < parts.size(); ++i) {
      MOE_CHECK(problems[i].empty(), "counted from byte ", done_bytes_, ": ", problems[i]);
      to_.add(ids[i]);
      done_bytes_ += std::ssize(parts[i]);
    }
  }

  const Tokenizer& tokenizer_;
  ShardWriter& to_;
  bool in_parts_;
  std::string text_;
  size_t searched_ = 0;
  int64_t done_bytes_ = 0;
};

class Preparation {
 public:
  Preparation(Fs& fs, const PrepareOptions& options)
      : fs_(fs), options_(options), on_error_(parse_on_error(options.data.on_error)) {}

  PrepareResult run();

 private:
  void check_options() const;
  void find_inputs();
  bool first_record_is_chat() const;
  void open_tokenizer_of(const std::set<char32_t>& characters);
  ShardWriter writer(const char* stem) const;

  void read_texts();
  void write_texts();
  void write_single_text();
  void read_chats();
  void spool_chats(std::vector<Record>& batch, uint32_t file);
  void write_chats();
  /// Calls visit(entries, how many of them, the first ones, are for validation).
  void in_hash_order(const std::function<void(std::span<const RecordSpool::Entry>, size_t)>& visit);
  void finish();

  void left_out(uint32_t file, int64_t line, const std::string& why);
  void tell(const std::string& what, double share) const {
    if (options_.stop_requested && options_.stop_requested())
      throw Error("[data prepare] interrupted; nothing was written", ExitCode::interrupted);
    if (options_.progress) options_.progress(what, share);
  }

  Fs& fs_;
  const PrepareOptions& options_;
  OnError on_error_;
  std::vector<InputFile> inputs_;
  bool from_folder_ = false;  // or of several: each text is one of several documents
  bool chats_ = false;
  std::unique_ptr<TemporaryFolder> folder_;
  std::unique_ptr<RecordSpool> spool_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<ChatEncoder> encoder_;
  std::unique_ptr<ShardWriter> train_, validation_;
  int64_t characters_ = 0;  // of a text file that is alone
  PrepareResult result_;
};

// ---- what there is ----------------------------------------------------------------------

void Preparation::check_options() const {
  const auto check = [](bool ok, const std::string& message) {
    if (!ok) throw Error("[data prepare] " + message, ExitCode::usage);
  };
  check(!options_.inputs.empty(), "no file is given");
  check(!options_.out.empty(), "--out is empty; name a folder");
  check(options_.data.val_fraction >= 0 && options_.data.val_fraction < 1,
        str("--val-fraction is ", options_.data.val_fraction, ", must be in [0, 1)"));
  check(options_.data.fim_rate >= 0 && options_.data.fim_rate <= 1,
        str("--fim-rate is ", options_.data.fim_rate, ", must be in [0, 1]"));
  check(
      !exists(options_.out) || (is_directory(options_.out) && list_directory(options_.out).empty()),
      str(printable(options_.out), " already holds something; name another folder, or remove it"));
}

void Preparation::find_inputs() {
  from_folder_ = options_.inputs.size() > 1;
  for (const std::string& input : options_.inputs) {
    MOE_CHECK(exists(input), "[data] ", printable(input), ": no such file or folder");
    if (!is_directory(input)) {
      inputs_.push_back({input, is_record_file(input), false});
      continue;
    }
    from_folder_ = true;
    const size_t before = inputs_.size();
    for (const std::string& name : list_directory(input)) {
      const std::string path = join_path(input, name);
      if (is_directory(path)) continue;
      if (is_record_file(name) || is_text_file(name))
        inputs_.push_back({path, is_record_file(name), true});
    }
    MOE_CHECK(inputs_.size() > before, "[data] ", printable(input),
              ": the folder holds no .txt, .jsonl, .json, .csv or .tsv file");
  }
}

bool Preparation::first_record_is_chat() const {
  for (const InputFile& input : inputs_) {
    if (!input.is_records) continue;
    bool chat = false;
    stream_records(input.path, on_error_, [&](Record&& record) {
      chat = !record.is_text();
      return false;
    });
    return chat;
  }
  return false;
}

void Preparation::open_tokenizer_of(const std::set<char32_t>& characters) {
  if (options_.data.tokenizer == "char")
    tokenizer_ = make_char_tokenizer({characters.begin(), characters.end()});
  else
    tokenizer_ = open_tokenizer(options_.data.tokenizer, "");
  result_.info.format = {.id_bytes = shard_id_bytes(tokenizer_->vocab_size()),
                         .vocab_size = tokenizer_->vocab_size(),
                         .vocabulary = vocabulary_hash(*tokenizer_),
                         .has_mask = chats_};
  train_ = std::make_unique<ShardWriter>(writer("train"));
  validation_ = std::make_unique<ShardWriter>(writer("validation"));
}

ShardWriter Preparation::writer(const char* stem) const {
  return {fs_, folder_->path(), stem, result_.info.format, options_.max_shard_bytes};
}

void Preparation::left_out(uint32_t file, int64_t line, const std::string& why) {
  const std::string what =
      str("[data] ", printable(inputs_[file].path), line > 0 ? str(" line ", line) : "", ": ", why);
  if (on_error_ == OnError::stop) throw Error(what);
  if (on_error_ == OnError::report) log_warning(what);
  ++result_.n_bad;
}

// ---- texts ------------------------------------------------------------------------------

void Preparation::read_texts() {
  std::set<char32_t> characters;
  std::vector<bool> seen(size_t{0x110000});
  const bool needs_characters = options_.data.tokenizer == "char";
  const auto note = [&](std::string_view text) {
    result_.text_bytes += std::ssize(text);
    for (size_t at = 0; needs_characters && at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      at += c.size;
      if (c.value < seen.size() && !seen[c.value]) {
        seen[c.value] = true;
        characters.insert(c.value);
      }
    }
  };
  for (uint32_t f = 0; f < inputs_.size(); ++f) {
    const std::string& path = inputs_[f].path;
    const auto share = [&](double done) {
      tell("reading " + file_name(path), (double(f) + done) / double(inputs_.size()));
    };
    share(0);
    if (inputs_[f].is_records) {
      const RecordCounts counts = stream_records(
          path, on_error_,
          [&](Record&& record) {
            MOE_CHECK(
                record.is_text(), "[data] ", printable(path), " line ", record.line,
                ": a conversation; pretraining reads a field 'text' (--stage sft reads both)");
            note(record.text);
            spool_->add({stable_hash(record.text), text_record, f, record.line, record.text});
            return true;
          },
          share);
      result_.n_bad += counts.n_bad;
      continue;
    }
    TextReader reader(path);
    std::string piece;
    int64_t n = 0;
    while (reader.read(piece)) {
      n += count_code_points(piece);
      note(piece);
      piece.clear();
      share(reader.done());
    }
    if (n > 0) {
      characters_ = n;
      spool_->add({stable_hash(file_name(path)), text_file, f, 0, ""});
    } else {
      MOE_CHECK(from_folder_, "[data] ", printable(path), ": the file is empty");
      log_warning(str("[data] ", printable(path), " is empty and left out"));
    }
  }
  MOE_CHECK(spool_->count() > 0, "[data] ", printable(options_.inputs[0]), ": no text in it");
  open_tokenizer_of(characters);
}

/// One document: its first characters are for training, the last for validation.
void Preparation::write_single_text() {
  const DocumentEncoder documents(*tokenizer_, options_.data.fim_rate, uint64_t(options_.seed));
  const bool cut_in_three = documents.cuts(0);
  TextEncoder train(*tokenizer_, *train_, cut_in_three),
      validation(*tokenizer_, *validation_, false);
  spool_->for_each_part([&](std::span<const RecordSpool::Entry> entries) {
    const RecordSpool::Entry& entry = entries.front();
    int64_t n = entry.kind == text_file ? characters_ : count_code_points(entry.payload);
    n = static_cast<int64_t>(static_cast<double>(n) * (1.0 - options_.data.val_fraction));
    const auto add = [&](std::string_view piece) {
      size_t cut = 0;
      for (; n > 0 && cut < piece.size(); --n) cut += code_point_at(piece, cut).size;
      train.add(piece.substr(0, cut));
      validation.add(piece.substr(cut));
    };
    try {
      if (entry.kind == text_file) {
        TextReader reader(inputs_[entry.file].path);
        std::string piece;
        while (reader.read(piece)) {
          add(piece);
          piece.clear();
          tell("encoding", reader.done());
        }
      } else {
        add(entry.payload);
      }
      if (cut_in_three)
        train_->add(documents.encode(train.take_rest(), 0));
      else
        train.finish();
      validation.finish();
    } catch (const Error& error) {
      if (error.exit_code() != ExitCode::failure) throw;
      throw Error(str("[data] ", printable(inputs_[entry.file].path), ": ", error.what()));
    }
  });
  train_->end_document();
  validation_->end_document();
}

void Preparation::write_texts() {
  const DocumentEncoder documents(*tokenizer_, options_.data.fim_rate, uint64_t(options_.seed));
  const std::vector<TokenId> end =
      tokenizer_->eos_id() ? std::vector<TokenId>{*tokenizer_->eos_id()} : std::vector<TokenId>{};
  int64_t n_train = 0;
  in_hash_order([&](std::span<const RecordSpool::Entry> entries, size_t n_validation) {
    std::vector<std::vector<TokenId>> ids(entries.size());
    std::vector<std::string> problems(entries.size());
    const int64_t first_train = n_train - int64_t(n_validation);
    parallel_for(std::ssize(entries), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const RecordSpool::Entry& entry = entries[size_t(i)];
        if (entry.kind == text_file) continue;
        try {
          ids[size_t(i)] = i < int64_t(n_validation)
                               ? tokenizer_->encode(entry.payload)
                               : documents.encode(entry.payload, first_train + i);
        } catch (const Error& error) {
          problems[size_t(i)] = error.what();
        }
      }
    });
    for (size_t i = 0; i < entries.size(); ++i) {
      ShardWriter& to = i < n_validation ? *validation_ : *train_;
      const RecordSpool::Entry& entry = entries[i];
      if (!problems[i].empty()) {
        left_out(entry.file, entry.line, problems[i]);
        continue;
      }
      if (entry.kind == text_record) {
        ids[i].insert(ids[i].end(), end.begin(), end.end());
        to.add_document(ids[i]);
        continue;
      }
      const int64_t index = first_train + int64_t(i);
      const bool cut_in_three = i >= n_validation && documents.cuts(index);
      TextEncoder text(*tokenizer_, to, cut_in_three);
      TextReader reader(inputs_[entry.file].path);
      std::string piece;
      try {
        while (reader.read(piece)) {
          text.add(piece);
          piece.clear();
        }
        if (cut_in_three)
          to.add(documents.encode(text.take_rest(), index));
        else
          text.finish();
      } catch (const Error& error) {
        if (error.exit_code() != ExitCode::failure) throw;
        throw Error(str("[data] ", printable(inputs_[entry.file].path), ": ", error.what()));
      }
      to.add(end);
      to.end_document();
    }
    n_train += std::ssize(entries) - int64_t(n_validation);
  });
}

// ---- conversations ----------------------------------------------------------------------

void Preparation::read_chats() {
  open_tokenizer_of({});
  const DataConfig& data = options_.data;
  encoder_ = std::make_unique<ChatEncoder>(
      find_chat_template(data.chat_template.empty() ? "chatml" : data.chat_template), tokenizer_);
  std::vector<Record> batch;
  size_t batch_bytes = 0;
  for (uint32_t f = 0; f < inputs_.size(); ++f) {
    const std::string& path = inputs_[f].path;
    const auto share = [&](double done) {
      tell("encoding " + file_name(path), (double(f) + done) / double(inputs_.size()));
    };
    share(0);
    const RecordCounts counts = stream_records(
        path, on_error_,
        [&](Record&& record) {
          size_t bytes = record.text.size();
          for (const Json& m : record.messages)
            if (const Json* content = m.as_object().if_contains("content"))
              bytes += content->is_string() ? content->as_string().size() : 0;
          batch_bytes += bytes;
          result_.text_bytes += int64_t(bytes);
          batch.push_back(std::move(record));
          if (batch_bytes >= kBatchBytes || batch.size() >= kBatchRecords) {
            spool_chats(batch, f);
            batch_bytes = 0;
          }
          return true;
        },
        share);
    spool_chats(batch, f);
    batch_bytes = 0;
    result_.n_bad += counts.n_bad;
  }
}

void Preparation::spool_chats(std::vector<Record>& batch, uint32_t file) {
  const DataConfig& data = options_.data;
  std::vector<EncodedChat> chats(batch.size());
  std::vector<uint64_t> hashes(batch.size());
  std::vector<std::string> problems(batch.size());
  parallel_for(std::ssize(batch), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Record& record = batch[size_t(i)];
      hashes[size_t(i)] = record_hash(record);
      try {
        chats[size_t(i)] = encode_record(record, data, *encoder_);
      } catch (const Error& error) {
        problems[size_t(i)] = error.what();
      }
    }
  });
  std::string payload;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!problems[i].empty()) {
      left_out(file, batch[i].line, problems[i]);
      continue;
    }
    EncodedChat& chat = chats[i];
    if (data.seq_len > 0 && std::ssize(chat.ids) > data.seq_len + 1) {
      chat.ids.resize(size_t(data.seq_len) + 1);
      chat.trained.resize(chat.ids.size());
      ++result_.cut;
    }
    if (!learns_something(chat)) {
      ++result_.nothing_learned;
      continue;
    }
    payload.assign(reinterpret_cast<const char*>(chat.ids.data()), chat.ids.size() * 4);
    payload.append(reinterpret_cast<const char*>(chat.trained.data()), chat.trained.size());
    spool_->add({hashes[i], chat_record, file, batch[i].line, payload});
  }
  batch.clear();
}

void Preparation::write_chats() {
  MOE_CHECK(spool_->count() > 0, "[data] ", printable(options_.inputs[0]),
            ": no record has a token to learn",
            result_.nothing_learned > 0
                ? str(options_.data.seq_len > 0
                          ? str(" within --seq-len ", options_.data.seq_len, "; raise it, or")
                          : std::string(";"),
                      " set --loss-on all if no assistant speaks in them")
                : std::string());
  MOE_CHECK(spool_->count() > 1 || options_.data.val_fraction <= 0, "[data] ",
            printable(options_.inputs[0]),
            ": one conversation cannot be split; set --val-fraction 0 or give more");
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;
  in_hash_order([&](std::span<const RecordSpool::Entry> entries, size_t n_validation) {
    for (size_t i = 0; i < entries.size(); ++i) {
      const std::string_view payload = entries[i].payload;
      const size_t n = payload.size() / 5;
      ids.resize(n);
      trained.resize(n);
      std::memcpy(ids.data(), payload.data(), 4 * n);
      std::memcpy(trained.data(), payload.data() + 4 * n, n);
      (i < n_validation ? *validation_ : *train_).add_document(ids, trained);
    }
  });
}

// ---- both -------------------------------------------------------------------------------

void Preparation::in_hash_order(
    const std::function<void(std::span<const RecordSpool::Entry>, size_t)>& visit) {
  const int64_t count = spool_->count();
  const double fraction = options_.data.val_fraction;
  // As validation_count(): the share, at least one and not all. Copies stay on one side, unless
  // nothing but copies would be left.
  const int64_t share = fraction <= 0 || count < 2
                            ? 0
                            : std::clamp<int64_t>(int64_t(double(count) * fraction), 1, count - 1);
  int64_t index = 0;
  uint64_t last_hash = 0;
  bool extends = true;
  spool_->for_each_part([&](std::span<const RecordSpool::Entry> entries) {
    for (size_t begin = 0; begin < entries.size();) {
      size_t end = begin, bytes = 0, n_validation = 0;
      while (end < entries.size() && end - begin < kBatchRecords && bytes < kBatchBytes) {
        const RecordSpool::Entry& entry = entries[end];
        const int64_t at = index + int64_t(end - begin);
        const bool copy = at >= share && share > 0 && extends && entry.hash == last_hash &&
                          entry.hash != spool_->largest_hash();
        extends = at < share || copy;
        if (extends) {
          ++n_validation;
          last_hash = entry.hash;
        }
        bytes += entry.payload.size();
        ++end;
      }
      visit(entries.subspan(begin, end - begin), n_validation);
      index += int64_t(end - begin);
      begin = end;
      tell("writing", double(index) / double(count));
    }
  });
}

void Preparation::finish() {
  const auto part = [](ShardWriter& w) {
    PreparedPart out{.shards = w.finish()};
    out.documents = w.n_documents();
    out.tokens = w.n_tokens();
    out.trained = w.n_trained();
    return out;
  };
  PreparedInfo& info = result_.info;
  info.train = part(*train_);
  info.validation = part(*validation_);
  MOE_CHECK(info.train.tokens > 0, "[data] ", printable(options_.inputs[0]),
            ": no token is left to train on");
  info.stage = chats_ ? "sft" : "pretrain";
  info.val_fraction = options_.data.val_fraction;
  info.seed = options_.seed;
  const auto write = [&](const std::string& name, const std::string& content) {
    write_file_atomic(fs_, join_path(folder_->path(), name), content);
  };
  if (chats_) {
    info.seq_len = options_.data.seq_len;
    info.loss_on = options_.data.loss_on;
    info.turns = options_.data.turns;
    info.chat_template = xxh3_128_hex(as_bytes(encoder_->source().text));
    write("chat_template.jinja", encoder_->source().text);
  } else {
    info.fim_rate = options_.data.fim_rate;
  }
  write("tokenizer.json", tokenizer_to_json(*tokenizer_));
  write("tokenizer_config.json", tokenizer_config_json(*tokenizer_));
  write(kShardsName, prepared_info_text(info));
  spool_.reset();
  folder_->move_to(options_.out);
}

PrepareResult Preparation::run() {
  check_options();
  find_inputs();
  chats_ = options_.stage == "sft" || (options_.stage == "auto" && first_record_is_chat());
  if (chats_) {  // of a folder only what holds records
    std::erase_if(inputs_, [](const InputFile& f) { return f.in_folder && !f.is_records; });
    MOE_CHECK(!inputs_.empty(), "[data] ", printable(options_.inputs[0]),
              ": the folder holds no .jsonl, .json, .csv or .tsv file");
  }
  for (const InputFile& input : inputs_) result_.info.files.push_back(file_name(input.path));
  std::string out = options_.out;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  if (!parent_path(out).empty()) make_directories(fs_, parent_path(out));
  folder_ = std::make_unique<TemporaryFolder>(fs_, str(out, ".tmp-", unique_suffix()));
  folder_->make();
  spool_ = std::make_unique<RecordSpool>(fs_, folder_->path(), kSpoolMemory);
  if (chats_) {
    read_chats();
    write_chats();
  } else {
    read_texts();
    if (spool_->count() == 1)
      write_single_text();
    else
      write_texts();
  }
  finish();
  return std::move(result_);
}

}  // namespace

PrepareResult prepare_data(Fs& fs, const PrepareOptions& options) {
  return Preparation(fs, options).run();
}

}  // namespace moe
