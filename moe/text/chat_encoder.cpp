// SPDX-License-Identifier: MIT
#include "moe/text/chat_encoder.h"

#include <algorithm>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/str.h"

namespace moe {
namespace {

constexpr std::string_view kChatMlHeader = "<|im_start|>assistant\n";

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

size_t common_prefix(std::string_view a, std::string_view b) {
  return size_t(
      std::mismatch(a.begin(), a.begin() + std::ptrdiff_t(std::min(a.size(), b.size())), b.begin())
          .first -
      a.begin());
}

/// Where each id begins in the text; nothing when the ids' bytes are not those of the text.
std::optional<std::vector<size_t>> token_begins(const Tokenizer& tokenizer, std::string_view text,
                                                const std::vector<TokenId>& ids) {
  std::vector<size_t> begins;
  size_t at = 0;
  for (const TokenId id : ids) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (bytes.empty()) return std::nullopt;
    size_t begin = at, n = bytes.size();
    if (!starts_with(text.substr(at), bytes)) {
      // A space that the tokenizer put before the text, or white space that it took away.
      if (bytes[0] == ' ' && starts_with(text.substr(at), bytes.substr(1))) {
        --n;
      } else {
        while (begin < text.size() && is_space(text[begin]) &&
               !starts_with(text.substr(begin), bytes))
          ++begin;
        if (!starts_with(text.substr(begin), bytes)) return std::nullopt;
      }
    }
    begins.push_back(begin);
    at = begin + n;
  }
  while (at < text.size() && is_space(text[at])) ++at;
  if (at != text.size()) return std::nullopt;
  return begins;
}

bool is_assistant(const Json& message) {
  const JsonObject* object = message.if_object();
  const Json* role = object ? object->if_contains("role") : nullptr;
  return role && role->is_string() && std::string_view(role->as_string()) == "assistant";
}

/// An answer that is not learned: OpenAI's "weight": 0.
bool has_weight_zero(const Json& message) {
  const JsonObject* object = message.if_object();
  const Json* weight = object ? object->if_contains("weight") : nullptr;
  return weight && weight->is_number() && weight->to_number<double>() == 0;
}

jinja::Origin origin_at(const Rendered& r, size_t i) {
  return i < r.text.origins.size() ? jinja::Origin(r.text.origins[i]) : jinja::kTemplate;
}

}  // namespace

std::vector<uint8_t> spans_to_ids(const Tokenizer& tokenizer, const jinja::Text& text,
                                  const std::vector<TokenId>& ids, const ByteSpans& spans) {
  std::vector<uint8_t> out(ids.size(), 0);
  if (const auto begins = token_begins(tokenizer, text.bytes, ids)) {
    size_t s = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      while (s < spans.size() && spans[s].second <= (*begins)[i]) ++s;
      out[i] = s < spans.size() && (*begins)[i] >= spans[s].first;
    }
    return out;
  }
  const auto ids_before = [&](size_t n_bytes) {
    const jinja::Text part = text.substr(0, n_bytes);
    return std::min(ids.size(), tokenizer.encode_marked(part.bytes, part.origins).size());
  };
  for (const auto& [begin, end] : spans) {
    const size_t first = ids_before(begin), last = ids_before(end);
    for (size_t i = first; i < last; ++i) out[i] = 1;
  }
  return out;
}

ChatEncoder::ChatEncoder(ChatSource source, std::shared_ptr<const Tokenizer> tokenizer)
    : source_(std::move(source)),
      template_(std::make_shared<ChatTemplate>(source_.text, source_.what)),
      tokenizer_(std::move(tokenizer)) {
  source_.options.tidy = true;
  if (source_.options.now == 0) source_.options.now = real_clock().unix_seconds();
  const auto text_of = [&](std::optional<TokenId> id) {
    return id ? std::string(tokenizer_->token_bytes(*id)) : std::string();
  };
  if (source_.options.bos_token.empty()) source_.options.bos_token = text_of(tokenizer_->bos_id());
  if (source_.options.eos_token.empty()) source_.options.eos_token = text_of(tokenizer_->eos_id());
  for (TokenId id = 0; id < tokenizer_->vocab_size(); ++id)
    if (tokenizer_->is_special(id) && !tokenizer_->token_bytes(id).empty())
      markers_.emplace_back(tokenizer_->token_bytes(id));
  if (!source_.options.eos_token.empty()) markers_.push_back(source_.options.eos_token);
  end_of_turn_ = find_end_of_turn();
}

Rendered ChatEncoder::render(const JsonArray& messages, const Json& tools,
                             bool add_generation_prompt) const {
  JsonObject context{{"messages", messages}, {"add_generation_prompt", add_generation_prompt}};
  if (!tools.is_null()) context["tools"] = tools;
  return render_chat(*template_, context, source_.options);
}

/// The end of the first special token that begins in [begin, end); npos: none does.
size_t ChatEncoder::special_after(const std::string& text, size_t begin, size_t end) const {
  size_t best = std::string::npos, best_end = std::string::npos;
  for (const std::string& marker : markers_) {
    const size_t at = text.find(marker, begin);
    if (at >= end) continue;
    const size_t stop = at + marker.size();
    if (best == std::string::npos || at < best || (at == best && stop > best_end)) {
      best = at;
      best_end = stop;
    }
  }
  return best_end;
}

ByteSpans ChatEncoder::trained_spans(const JsonArray& messages, const Json& tools,
                                     const Rendered& rendered, TrainedTurns turns) const {
  const std::string& text = rendered.text.bytes;
  size_t last_of_others = 0;  // past the last byte that somebody else wrote
  for (size_t i = 0; i < text.size(); ++i)
    if (origin_at(rendered, i) == jinja::kContent) last_of_others = i + 1;

  ByteSpans spans;
  if (!rendered.generated.empty()) {
    spans.assign(rendered.generated.begin(), rendered.generated.end());
    std::vector<bool> learned;
    for (const Json& m : messages)
      if (is_assistant(m)) learned.push_back(!has_weight_zero(m));
    if (std::find(learned.begin(), learned.end(), false) != learned.end()) {
      MOE_CHECK(learned.size() == spans.size(), "[chat] the template marks ", spans.size(),
                " parts of ", learned.size(),
                " answers as generated, so that \"weight\": 0 has no meaning; leave it out");
      ByteSpans kept;
      for (size_t i = 0; i < spans.size(); ++i)
        if (learned[i]) kept.push_back(spans[i]);
      spans = std::move(kept);
    }
  } else {
    size_t done = 0;
    for (size_t m = 0; m < messages.size(); ++m) {
      if (!is_assistant(messages[m])) continue;
      size_t begin = done;
      try {
        const JsonArray before(messages.begin(), messages.begin() + std::ptrdiff_t(m));
        begin = std::max(done, common_prefix(render(before, tools, true).text.bytes, text));
      } catch (const Error&) {  // a template that wants a user's turn first
      }
      // Behind the role's line of ChatML, whatever the generation prompt adds to it.
      const size_t header = text.rfind(kChatMlHeader, begin);
      if (header != std::string::npos && header >= done && header + kChatMlHeader.size() <= begin)
        begin = header + kChatMlHeader.size();
      size_t end_of_region = begin;
      while (end_of_region < text.size() && origin_at(rendered, end_of_region) != jinja::kContent)
        ++end_of_region;
      size_t first = end_of_region, end = begin;
      for (size_t i = begin; i < end_of_region; ++i) {
        if (origin_at(rendered, i) != jinja::kAssistant) continue;
        first = std::min(first, i);
        end = i + 1;
      }
      if (begin == done && done > 0 && first < end_of_region) begin = first;
      if (const size_t stop = special_after(text, end, end_of_region); stop != std::string::npos) {
        end = stop;
        if (end < end_of_region && text[end] == '\n') ++end;
      }
      if (end > begin && !has_weight_zero(messages[m])) spans.emplace_back(begin, end);
      done = end;
    }
  }
  if (turns == TrainedTurns::last)
    std::erase_if(spans, [&](const auto& span) { return span.first < last_of_others; });
  return spans;
}

EncodedChat ChatEncoder::encode(const JsonArray& messages, const Json& tools,
                                TrainedTurns turns) const {
  const Rendered rendered = render(messages, tools, false);
  EncodedChat out;
  out.ids = tokenizer_->encode_marked(rendered.text.bytes, rendered.text.origins);
  out.trained = spans_to_ids(*tokenizer_, rendered.text, out.ids,
                             trained_spans(messages, tools, rendered, turns));
  return out;
}

std::vector<TokenId> ChatEncoder::prompt(const JsonArray& messages, const Json& tools) const {
  const Rendered rendered = render(messages, tools, true);
  return tokenizer_->encode_marked(rendered.text.bytes, rendered.text.origins);
}

std::string ChatEncoder::find_end_of_turn() const {
  // Two turns, since some templates end the last one in another way.
  const auto message = [](const char* role, const char* content) {
    return Json(JsonObject{{"role", role}, {"content", content}});
  };
  JsonArray messages{message("user", "q"), message("assistant", "a")};
  try {
    const Rendered r = render(messages, nullptr, false);
    const std::string& text = r.text.bytes;
    size_t last = std::string::npos;
    for (size_t i = 0; i < text.size(); ++i)
      if (origin_at(r, i) == jinja::kAssistant) last = i;
    if (last == std::string::npos) return "";
    if (!r.generated.empty()) {
      const auto [begin, end] = r.generated.back();
      return last + 1 < end ? text.substr(last + 1, end - last - 1) : "";
    }
    const size_t stop = special_after(text, last + 1, text.size());
    return stop == std::string::npos ? "" : text.substr(last + 1, stop - last - 1);
  } catch (const Error&) {
    return "";
  }
}

std::optional<TokenId> ChatEncoder::end_of_turn_id() const {
  if (end_of_turn_.empty()) return std::nullopt;
  try {
    const std::vector<TokenId> ids = tokenizer_->encode(end_of_turn_, SpecialTokens::parse);
    if (ids.size() == 1) return ids[0];
  } catch (const Error&) {  // `char` has no id for one of its characters
  }
  return std::nullopt;
}

}  // namespace moe
