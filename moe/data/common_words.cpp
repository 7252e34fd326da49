// SPDX-License-Identifier: MIT
#include "moe/data/common_words.h"

#include <unordered_set>

namespace moe {

bool is_common_english(std::string_view word) {
  static const std::unordered_set<std::string_view> words = [] {
    static constexpr std::string_view kWords =
        "a a.m a.m. able about above absolutely across actually ad after again against ago "
        "ah ahead ain alas all almost alone along already also although altogether always "
        "am among amongst an and another any anybody anyone anything anyway anywhere "
        "apparently april are aren around as aside at august away back badly barely "
        "basically bc be because been before behind being below beneath beside besides best "
        "better between beyond billion both briefly but by can cannot carefully ceo "
        "certainly circa clearly come completely could couldn currently daily dear december "
        "deeply despite did didn directly dna do does doesn doing done down dr during dvd "
        "e.g e.g. each easily eg either else elsewhere enough entirely equally especially "
        "essentially etc even eventually ever every everybody everyone everything "
        "everywhere exactly except extremely fairly far fast february few fewer finally "
        "first for formerly forth forward frequently friday from fully further furthermore "
        "generally get give go good got greatly had hadn half hardly has hasn have haven he "
        "heavily hello hence her here hers herself hey highly him himself his how however "
        "html http https hundred i i.e i.e. ie if immediately in indeed initially inside "
        "instead into is isn it its itself january jr july june just largely last late "
        "lately later least less let like likely likewise little ll long lot mainly many "
        "march may maybe me meanwhile merely midnight might million mine monday more "
        "moreover most mostly mr mrs ms much must my myself namely near nearby nearly "
        "neither never nevertheless next no nobody none nonetheless noon nor normally not "
        "nothing november now nowhere née obviously occasionally october of off often oh ok "
        "okay on once one only onto openly or originally other others otherwise ought our "
        "ours ourselves out outside over overall own p.m p.m. partially particularly partly "
        "pdf per perhaps please pm possibly presumably previously primarily probably "
        "properly quickly quietly quite rarely rather readily really recently regularly "
        "relatively right roughly said same saturday second seldom september several shall "
        "she shortly should shouldn significantly similarly simply since slightly slowly so "
        "some somebody somehow someone something sometimes somewhat somewhere soon sorry "
        "specifically sr st still strongly subsequently such suddenly sunday sure surely "
        "take ten than thank thanks that the their theirs them themselves then there "
        "thereafter thereby therefore these they third this those though thousand through "
        "throughout thursday thus till to today together tomorrow tonight too totally "
        "toward towards truly tuesday tv twice typically u.k u.k. u.s u.s. uk ultimately "
        "under unfortunately unless unlike until unto up upon us usa usually various ve "
        "very via vs was wasn we wednesday well were weren what whatever when whence "
        "whenever where whereas wherever whether which while who whoever whole wholly whom "
        "whose why widely will with within without would wouldn www yes yesterday yet you "
        "your yours yourself yourselves zero ";
    std::unordered_set<std::string_view> out;
    for (size_t from = 0; from < kWords.size();) {
      const size_t space = kWords.find(' ', from);
      out.insert(kWords.substr(from, space - from));
      from = space + 1;
    }
    return out;
  }();
  return words.contains(word);
}

}  // namespace moe
