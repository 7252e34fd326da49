// SPDX-License-Identifier: MIT
// PCRE2 knows the scripts but tells them only through patterns; a code point's script is looked for
// once, pattern by pattern, and remembered.
#include "moe/text/script.h"

#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "moe/base/utf8.h"
#include "moe/text/regex.h"

namespace moe {
namespace {

// The common ones first.
constexpr const char* kScripts[] = {"Common",
                                    "Latin",
                                    "Inherited",
                                    "Han",
                                    "Cyrillic",
                                    "Arabic",
                                    "Greek",
                                    "Devanagari",
                                    "Hebrew",
                                    "Hangul",
                                    "Hiragana",
                                    "Katakana",
                                    "Thai",
                                    "Bengali",
                                    "Tamil",
                                    "Telugu",
                                    "Gujarati",
                                    "Gurmukhi",
                                    "Kannada",
                                    "Malayalam",
                                    "Armenian",
                                    "Georgian",
                                    "Adlam",
                                    "Ahom",
                                    "Anatolian_Hieroglyphs",
                                    "Avestan",
                                    "Balinese",
                                    "Bamum",
                                    "Bassa_Vah",
                                    "Batak",
                                    "Bhaiksuki",
                                    "Bopomofo",
                                    "Brahmi",
                                    "Braille",
                                    "Buginese",
                                    "Buhid",
                                    "Canadian_Aboriginal",
                                    "Carian",
                                    "Caucasian_Albanian",
                                    "Chakma",
                                    "Cham",
                                    "Cherokee",
                                    "Chorasmian",
                                    "Coptic",
                                    "Cuneiform",
                                    "Cypriot",
                                    "Cypro_Minoan",
                                    "Deseret",
                                    "Dives_Akuru",
                                    "Dogra",
                                    "Duployan",
                                    "Egyptian_Hieroglyphs",
                                    "Elbasan",
                                    "Elymaic",
                                    "Ethiopic",
                                    "Glagolitic",
                                    "Gothic",
                                    "Grantha",
                                    "Gunjala_Gondi",
                                    "Hanifi_Rohingya",
                                    "Hanunoo",
                                    "Hatran",
                                    "Imperial_Aramaic",
                                    "Inscriptional_Pahlavi",
                                    "Inscriptional_Parthian",
                                    "Javanese",
                                    "Kaithi",
                                    "Kayah_Li",
                                    "Kharoshthi",
                                    "Khitan_Small_Script",
                                    "Khmer",
                                    "Khojki",
                                    "Khudawadi",
                                    "Lao",
                                    "Lepcha",
                                    "Limbu",
                                    "Linear_A",
                                    "Linear_B",
                                    "Lisu",
                                    "Lycian",
                                    "Lydian",
                                    "Mahajani",
                                    "Makasar",
                                    "Mandaic",
                                    "Manichaean",
                                    "Marchen",
                                    "Masaram_Gondi",
                                    "Medefaidrin",
                                    "Meetei_Mayek",
                                    "Mende_Kikakui",
                                    "Meroitic_Cursive",
                                    "Meroitic_Hieroglyphs",
                                    "Miao",
                                    "Modi",
                                    "Mongolian",
                                    "Mro",
                                    "Multani",
                                    "Myanmar",
                                    "Nabataean",
                                    "Nandinagari",
                                    "New_Tai_Lue",
                                    "Newa",
                                    "Nko",
                                    "Nushu",
                                    "Nyiakeng_Puachue_Hmong",
                                    "Ogham",
                                    "Ol_Chiki",
                                    "Old_Hungarian",
                                    "Old_Italic",
                                    "Old_North_Arabian",
                                    "Old_Permic",
                                    "Old_Persian",
                                    "Old_Sogdian",
                                    "Old_South_Arabian",
                                    "Old_Turkic",
                                    "Old_Uyghur",
                                    "Oriya",
                                    "Osage",
                                    "Osmanya",
                                    "Pahawh_Hmong",
                                    "Palmyrene",
                                    "Pau_Cin_Hau",
                                    "Phags_Pa",
                                    "Phoenician",
                                    "Psalter_Pahlavi",
                                    "Rejang",
                                    "Runic",
                                    "Samaritan",
                                    "Saurashtra",
                                    "Sharada",
                                    "Shavian",
                                    "Siddham",
                                    "SignWriting",
                                    "Sinhala",
                                    "Sogdian",
                                    "Sora_Sompeng",
                                    "Soyombo",
                                    "Sundanese",
                                    "Syloti_Nagri",
                                    "Syriac",
                                    "Tagalog",
                                    "Tagbanwa",
                                    "Tai_Le",
                                    "Tai_Tham",
                                    "Tai_Viet",
                                    "Takri",
                                    "Tangsa",
                                    "Tangut",
                                    "Tibetan",
                                    "Tifinagh",
                                    "Tirhuta",
                                    "Toto",
                                    "Ugaritic",
                                    "Vai",
                                    "Vithkuqi",
                                    "Wancho",
                                    "Warang_Citi",
                                    "Yezidi",
                                    "Yi",
                                    "Zanabazar_Square"};

class Scripts {
 public:
  int of(char32_t c) {
    const std::lock_guard lock(mutex_);
    const auto [found, is_new] = known_.emplace(c, 0);
    if (!is_new) return found->second;
    std::string text;
    append_utf8(text, c);
    for (size_t i = 0; i < std::size(kScripts); ++i) {
      if (patterns_.size() <= i)
        patterns_.emplace_back("\\p{sc:" + std::string(kScripts[i]) + "}", "[tokenizer] scripts");
      if (Regex::Search(patterns_[i], text).next().begin == 0)
        return found->second = static_cast<int>(i) + 1;
    }
    return 0;
  }

 private:
  std::mutex mutex_;
  std::vector<Regex> patterns_;
  std::unordered_map<char32_t, int> known_;
};

}  // namespace

int script_of(char32_t c) {
  static Scripts scripts;
  return scripts.of(c);
}

int script_number(const char* name) {
  for (size_t i = 0; i < std::size(kScripts); ++i)
    if (std::string_view(kScripts[i]) == name) return static_cast<int>(i) + 1;
  return 0;
}

}  // namespace moe
