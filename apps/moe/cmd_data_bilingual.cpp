// SPDX-License-Identifier: MIT
#include "apps/moe/cmd_data_bilingual.h"

#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/str.h"
#include "moe/data/demo_bilingual.h"

#include "apps/moe/command.h"

namespace moe {

DataFileCommands::value_type add_data_bilingual(CLI::App& data) {
  struct Options {
    std::string out, split = "train";
    int64_t n = 10000, seed = 1;
  };
  auto o = std::make_shared<Options>();
  CLI::App* app = data.add_subcommand(
      "bilingual", "Paragraphs that say the same in English and in Chinese, a file of each");
  app->add_option("--out", o->out, "folder of en.txt and zh.txt")->required();
  app->add_option("-n", o->n, "paragraphs")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  app->add_option("--split", o->split, "train or validation: other draws")
      ->check(CLI::IsMember({"train", "validation"}))
      ->capture_default_str();
  add_seed_option(*app, "--seed", o->seed, "seed of the draws")->capture_default_str();
  return {app, [o] {
            const Split split = o->split == "train" ? Split::train : Split::validation;
            std::string english, chinese;
            for (int64_t i = 0; i < o->n; ++i) {
              const BilingualText text = demo_bilingual(split, i, uint64_t(o->seed));
              english += text.english + "\n";
              chinese += text.chinese + "\n";
            }
            make_directories(real_fs(), o->out);
            write_file_atomic(real_fs(), join_path(o->out, "en.txt"), english);
            write_file_atomic(real_fs(), join_path(o->out, "zh.txt"), chinese);
            print_line(str("wrote ", printable(o->out), ": ", with_commas(o->n),
                           " paragraphs in English (", human_bytes(english.size()),
                           ") and in Chinese (", human_bytes(chinese.size()), ")"));
            return 0;
          }};
}

}  // namespace moe
