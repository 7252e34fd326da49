// SPDX-License-Identifier: MIT
#include "moe/data/demo_bilingual.h"

#include <span>

#include "moe/base/rng.h"
#include "moe/base/str.h"
#include "moe/data/demo_subjects.h"

namespace moe {
namespace {

struct Word {
  const char *english, *chinese;
};

constexpr Word kWho[] = {{"cat", "猫"},      {"dog", "狗"},      {"old man", "老人"},
                         {"girl", "女孩"},   {"boy", "男孩"},    {"teacher", "老师"},
                         {"farmer", "农夫"}, {"horse", "马"},    {"bird", "鸟"},
                         {"doctor", "医生"}, {"rabbit", "兔子"}, {"fisherman", "渔夫"}};
constexpr Word kHow[] = {{"happy", "快乐"},  {"tired", "疲倦"},  {"small", "小小"},
                         {"clever", "聪明"}, {"hungry", "饥饿"}, {"brave", "勇敢"},
                         {"quiet", "安静"},  {"strong", "强壮"}};
constexpr Word kWhere[] = {{"under the tree", "在树下"},       {"by the river", "在河边"},
                           {"in the garden", "在花园里"},      {"on the mountain", "在山上"},
                           {"at the market", "在市场上"},      {"near the bridge", "在桥旁边"},
                           {"in the small house", "在小屋里"}, {"on the long road", "在长路上"}};
constexpr Word kDoes[] = {{"sleeps", "睡觉"},       {"sings a song", "唱歌"},
                          {"eats rice", "吃米饭"},  {"waits", "等待"},
                          {"drinks water", "喝水"}, {"reads a book", "看书"},
                          {"works", "工作"},        {"looks at the moon", "看月亮"}};
constexpr Word kWhen[] = {{"In the morning", "早上"}, {"At night", "夜里"}, {"In spring", "春天"},
                          {"In winter", "冬天"},      {"Today", "今天"},    {"Every day", "每天"}};
constexpr Word kThing[] = {{"apples", "苹果"}, {"books", "书"},    {"fish", "鱼"},
                           {"flowers", "花"},  {"stones", "石头"}, {"eggs", "鸡蛋"}};
constexpr Word kNumber[] = {
    {"zero", "零"},      {"one", "一"},         {"two", "二"},        {"three", "三"},
    {"four", "四"},      {"five", "五"},        {"six", "六"},        {"seven", "七"},
    {"eight", "八"},     {"nine", "九"},        {"ten", "十"},        {"eleven", "十一"},
    {"twelve", "十二"},  {"thirteen", "十三"},  {"fourteen", "十四"}, {"fifteen", "十五"},
    {"sixteen", "十六"}, {"seventeen", "十七"}, {"eighteen", "十八"}};

const Word& one_of(std::span<const Word> words, DemoDraws& draws) {
  return words[static_cast<size_t>(draws.below(std::ssize(words)))];
}

void add_sentence(BilingualText& text, DemoDraws& draws) {
  const auto say = [&](const std::string& english, const std::string& chinese) {
    text.english += (text.english.empty() ? "" : " ") + english;
    text.chinese += chinese;
  };
  const Word &who = one_of(kWho, draws), &how = one_of(kHow, draws), &where = one_of(kWhere, draws),
             &does = one_of(kDoes, draws), &when = one_of(kWhen, draws),
             &thing = one_of(kThing, draws);
  switch (draws.below(4)) {
    case 0:
      return say(str(when.english, " the ", how.english, " ", who.english, " ", does.english, " ",
                     where.english, "."),
                 str(when.chinese, "，", how.chinese, "的", who.chinese, where.chinese,
                     does.chinese, "。"));
    case 1: {
      const int64_t a = draws.between(1, 9), b = draws.between(1, 9);
      const Word &x = kNumber[a], &y = kNumber[b], &z = kNumber[a + b];
      return say(str("The ", who.english, " counts: ", x.english, " plus ", y.english, " is ",
                     z.english, "."),
                 str(who.chinese, "数数：", x.chinese, "加", y.chinese, "等于", z.chinese, "。"));
    }
    case 2: {
      const Word& n = kNumber[draws.between(2, 9)];
      return say(str("The ", who.english, " has ", n.english, " ", thing.english, "."),
                 str(who.chinese, "有", n.chinese, "个", thing.chinese, "。"));
    }
    default:
      return say(
          str("Where is the ", who.english, "? The ", who.english, " is ", where.english, "."),
          str(who.chinese, "在哪里？", who.chinese, where.chinese, "。"));
  }
}

}  // namespace

BilingualText demo_bilingual(Split split, int64_t index, uint64_t seed) {
  const RngStream stream(seed, split == Split::train ? 0 : 1, "demo.bilingual");
  DemoDraws draws(stream, index);
  BilingualText text;
  for (int64_t n = draws.between(2, 4); n > 0; --n) add_sentence(text, draws);
  return text;
}

}  // namespace moe
