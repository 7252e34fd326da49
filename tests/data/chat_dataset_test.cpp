// SPDX-License-Identifier: MIT
#include "moe/data/chat_dataset.h"

#include <gtest/gtest.h>

#include "moe/base/fs.h"
#include "moe/data/batch.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

/// What is learned of a file's only conversation.
int64_t n_learned(const std::string& answers, const std::string& loss_on) {
  const TempFolder folder;
  DataConfig config;
  config.path = join_path(folder.path(), "chat.jsonl");
  config.loss_on = loss_on;
  config.val_fraction = 0;
  write_file_atomic(real_fs(), config.path,
                    R"({"messages": [{"role": "user", "content": "Hi"}, )" + answers + "]}\n");
  const ChatEncoder encoder(find_chat_template("chatml"),
                            std::shared_ptr<const Tokenizer>(make_byte_tokenizer()));
  return open_chat_dataset(config, encoder).train->n_targets(0);
}

TEST(ChatDataset, AnAnswerOfWeightZeroIsNotLearned) {
  const std::string end = "<|im_end|>", between = R"(, {"role": "user", "content": "x"}, )";
  const std::string bad = R"({"role": "assistant", "content": "bad", "weight": 0})";
  const std::string good = R"({"role": "assistant", "content": "good!"})";
  EXPECT_EQ(n_learned(bad + between + good, "assistant"), std::ssize(std::string("good!") + end));
  const std::string as_good = R"({"role": "assistant", "content": "bad"})";
  EXPECT_EQ(n_learned(as_good + between + good, "all") - n_learned(bad + between + good, "all"),
            std::ssize(std::string("bad") + end));
}

}  // namespace
}  // namespace moe
