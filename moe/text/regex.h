// SPDX-License-Identifier: MIT
// A tokenizer file's regular expression (PCRE2): Unicode classes, a bound on the work that one
// match may cost, and the meaning that Hugging Face's engine (Oniguruma, Ruby syntax) gives where
// the two differ: `$` and `^` match at line ends, `\s` is the property White_Space, \uXXXX.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace moe {

class Regex {
 public:
  /// Throws Error with about the position when the pattern is wrong or longer than 64 KiB. what:
  /// how errors call the source.
  Regex(std::string_view pattern, const std::string& what);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// A pattern that matches exactly this text.
  static std::string escape(std::string_view text);

  struct Match {
    size_t begin, end;  // npos when nothing matches
  };
  /// Matches in one text from left to right; an empty match is followed by a step of one character.
  /// Bytes that are not UTF-8 match nothing.
  class Search {
   public:
    Search(const Regex& regex, std::string_view text);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;
    /// The next match, or begin == npos. Throws Error when it costs more than the bound.
    Match next();

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace moe
