// SPDX-License-Identifier: MIT
// Conversations in which a model says who it is: questions in many wordings, in English and
// Chinese, with answers that hold a name and an author. For fine-tuning, where a few hundred of
// them are enough.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moe/data/records.h"

namespace moe {

struct Identity {
  std::string name, author;
};

/// Every question with each of its answers, "en", "zh" or "" for both: always the same list.
std::vector<Record> identity_records(const Identity& identity, const std::string& language = "");

/// 50 questions of the same kinds in words that identity_records() does not hold, 30 English and 20
/// Chinese; each record's `expect` is the name or the author, whichever was asked for.
std::vector<Record> identity_exam(const Identity& identity);

/// {{name}} and {{author}}, also with blanks inside, replaced in every text of a record.
Record with_identity(const Record& record, const Identity& identity);

}  // namespace moe
