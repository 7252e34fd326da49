// SPDX-License-Identifier: MIT
// Conversations as training data: rendered by a chat template, the assistant's tokens learned.
#pragma once

#include "moe/data/dataset.h"
#include "moe/data/packed_windows.h"
#include "moe/data/records.h"
#include "moe/text/chat_encoder.h"

namespace moe {

/// Reads config.path: a folder of prepared shards, mapped, or a file of records or a folder of
/// them, with the conversations of each encoded. Texts among them are learned whole, ended by the
/// tokenizer's end-of-text id. The records with the smallest hashes of what they say, the share
/// val_fraction, are for validation. One that is longer than data.seq_len is cut at its end; one
/// that is left without a learned token is left out, with a warning that counts them. An answer
/// with "weight": 0 is not learned. Throws Error: a file that cannot be read, a record that is
/// wrong (file and line), nothing to learn in all of them.
Dataset open_chat_dataset(const DataConfig& config, const ChatEncoder& encoder);

/// Packing of conversations; throws Error for "stream".
Packing chat_packing(const std::string& name);

/// The files of records that a path names: itself, or those of a folder.
std::vector<std::string> record_files(const std::string& path);
/// A hash of what a record says: copies have the same.
uint64_t record_hash(const Record& record);
/// The ids of a record and which are learned, as data.turns and data.loss_on say; a text is ended
/// by the end-of-text id and learned whole.
EncodedChat encode_record(const Record& record, const DataConfig& config,
                          const ChatEncoder& encoder);
/// Whether an id is learned; the first one is nobody's target.
bool learns_something(const EncodedChat& chat);

}  // namespace moe
