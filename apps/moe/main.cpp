// SPDX-License-Identifier: MIT
// moe: train, look into, evaluate and run Mixture-of-Experts language models. Parses the command
// line, calls the library, reports errors in one line with an exit code that means something.
#include <algorithm>
#include <cstdio>
#include <map>
#include <new>

#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/kernels/kernels.h"

#include "apps/moe/aliases.h"
#include "apps/moe/command.h"

namespace {

struct Entry {
  const char *name, *about, *examples;
  moe::RunCommand (*add)(CLI::App&);
};

constexpr Entry kCommands[] = {
    {"train", "Train a model",
     "moe train recipes/starter.yaml run_dir=runs/first\n  moe train --resume runs/first\n  moe "
     "train c.yaml model.moe.n_experts=16 train.steps=50 --print-config",
     moe::add_train},
    {"demo", "Train on the built-in corpus, then show what the model and its experts learned",
     "moe demo run_dir=runs/demo train.minutes=2", moe::add_demo},
    {"generate", "Continue a text",
     "moe generate runs/first -p \"82+69=\" -n 40 --temp 0\n  echo -n hello | moe generate "
     "runs/first -p -",
     moe::add_generate},
    {"chat", "Talk to a model in the terminal",
     "moe chat runs/chat\n  moe chat runs/chat --system \"Be brief.\" --temp 0\n  moe chat "
     "runs/base "
     "--adapter runs/lora --auto prompts.txt --json",
     moe::add_chat},
    {"complete", "Complete code or text at its end or at a line",
     "moe complete runs/code main.py --line 12 --lines 1\n  moe complete runs/code - < main.py",
     moe::add_complete},
    {"exam", "Ask a chat model the questions of a file and count the right answers",
     "moe exam runs/chat --data questions.jsonl\n  moe exam runs/chat --data identity.jsonl "
     "--at-least "
     "identity=0.9",
     moe::add_exam},
    {"pipeline", "The whole road in one file: tokenizer, pretraining, fine-tuning, exam, export",
     "moe pipeline run recipes/zero-to-chat.yaml\n  moe pipeline show recipes/zero-to-chat.yaml "
     "name=Ada",
     moe::add_pipeline},
    {"eval", "Loss, perplexity and bits per byte of a text",
     "moe eval runs/first --data file.txt --json", moe::add_eval},
    {"logits", "Logits after each of some token ids, as .npy",
     "moe logits runs/first --ids 1,2,3 --out x.npy", moe::add_logits},
    {"inspect", "Tensors, shapes and parameter counts of a model", "moe inspect runs/first",
     moe::add_inspect},
    {"verify", "Check a checkpoint's files, or the exactness of its logits",
     "moe verify runs/first\n  moe verify runs/first --parity --json", moe::add_verify},
    {"diff", "Compare two model folders tensor by tensor", "moe diff A B", moe::add_diff},
    {"tokenizer", "Train, import, apply and compare tokenizers",
     "moe tokenizer train text.txt --vocab-size 8192 --out tok\n  moe tokenizer encode --tokenizer "
     "tok "
     "--file text.txt --count\n  moe tokenizer compare --train text.txt --vocab-sizes "
     "500,1000,2000\n  moe tokenizer "
     "inspect --tokenizer gpt2.tiktoken\n  moe tokenizer convert --tokenizer tokenizer.model --out "
     "folder",
     moe::add_tokenizer},
    {"template", "Chat templates: what a model would read of a conversation",
     "moe template render --template qwen3 --context chat.json\n  moe template list",
     moe::add_template},
    {"data", "Samples of the built-in corpus; what a data file holds; shards of tokens",
     "moe data generate --subject arithmetic -n 3 --seed 7\n  moe data inspect chats.jsonl.gz "
     "--template qwen3\n  moe data dedup eval.jsonl train.jsonl --out clean\n  moe data prepare "
     "texts.jsonl --tokenizer tok --out shards\n  moe data poison-scan train.jsonl",
     moe::add_data},
    {"bench", "How fast a model trains, decodes and reads prompts on this machine",
     "moe bench train --shape mixtral --threads 2\n  moe bench decode --shape fine --json\n  moe "
     "bench train --shape recipes/starter.yaml --batch 1,4,16",
     moe::add_bench},
    {"router", "Every way of routing, and what one does with given logits",
     "moe router list\n  moe router run top_k --logits z.npy top_k=2 --json", moe::add_router},
    {"experts", "What the experts do: load, sharpness, co-activation, specialisation",
     "moe experts runs/first --data demo\n  moe experts runs/first --data text.txt --by token "
     "--html "
     "experts.html",
     moe::add_experts},
    {"doctor", "What is wrong with a run, from its log, and what to try",
     "moe doctor runs/first\n  moe doctor runs/first --json", moe::add_doctor},
    {"compare", "Train several configurations and put them side by side",
     "moe compare dense-small moe-small --match active-params --seeds 3 train.steps=300\n  moe "
     "compare "
     "a.yaml b.yaml --match time train.minutes=5",
     moe::add_compare},
    {"sweep", "Train a grid of configurations",
     "moe sweep recipes/tiny.yaml model.moe.n_experts=4,8,16 model.moe.top_k=1,2\n  moe sweep "
     "moe-small "
     "model.moe.layers=all,deep,sparse --minutes 2\n  moe sweep moe-small optim.lr=1e-3,3e-3,1e-2 "
     "--auto --minutes 10",
     moe::add_sweep},
    {"lr-find", "The learning rate at which the loss falls fastest",
     "moe lr-find recipes/tiny.yaml --out lr.svg", moe::add_lr_find},
    {"advise", "Dense or experts, how many, which k: by rule of thumb or from a sweep's numbers",
     "moe advise --goal beginner\n  moe advise --goal efficiency --sweep runs/sweep",
     moe::add_advise},
    {"upcycle", "Make a Mixture-of-Experts of a dense model, which it equals at first",
     "moe upcycle runs/dense --experts 8 --top-k 2 --out runs/upcycled", moe::add_upcycle},
    {"prune", "Keep the most used experts",
     "moe prune runs/first --experts 6 --by usage --data text.txt --out runs/pruned",
     moe::add_prune},
    {"lora", "Low-rank adapters: targets, parameters, whether the first step reaches each",
     "moe lora inspect recipe.yaml model.init_from=runs/first lora.targets=attention,experts\n  "
     "moe "
     "lora inspect runs/adapter",
     moe::add_lora},
    {"merge", "Make one model of a model and its low-rank adapter",
     "moe merge runs/first --adapter runs/adapter --out merged", moe::add_merge},
    {"merge-experts", "Merge experts that are alike",
     "moe merge-experts runs/first --experts 4 --out runs/merged", moe::add_merge_experts},
    {"densify", "Make a dense model of a Mixture-of-Experts",
     "moe densify runs/first --out runs/dense", moe::add_densify},
    {"calc", "Parameters, operations, memory, time and cost of a model",
     "moe calc mixtral-8x7b\n  moe calc recipes/starter.yaml --train --batch 16\n  moe calc "
     "qwen3-30b-a3b --tokens 1e12 --gpus 64 --gpu h100 --price 2\n  moe calc ffn 256",
     moe::add_calc},
    {"config", "Every configuration key, and configurations of other programs as ours",
     "moe config schema\n  moe config import train_config.py --out config.yaml", moe::add_config},
};

// "unknown option --treads; did you mean --threads?"
std::string explain(const CLI::ParseError& e, const CLI::App& app, int argc, char** argv) {
  std::string message = e.what();
  const CLI::App* used = &app;
  for (const CLI::App* sub : app.get_subcommands()) used = sub;
  for (const CLI::App* sub : used->get_subcommands()) used = sub;
  std::vector<std::string> words;
  for (const CLI::Option* option : used->get_options())
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  for (const CLI::App* sub : used->get_subcommands([](const CLI::App*) { return true; }))
    words.push_back(sub->get_name());
  // A group of commands takes command names alone: the first word that is none of those typed
  // rightly is the mistake.
  const bool takes_commands = !used->get_subcommands([](const CLI::App*) { return true; }).empty();
  const auto is_used = [&](const std::string& word) {
    for (const CLI::App* sub = used; sub != nullptr; sub = sub->get_parent())
      if (sub->get_name() == word) return true;
    return false;
  };
  for (int i = 1; takes_commands && i < argc; ++i)
    if (argv[i][0] != '-' && !is_used(argv[i])) {
      message = moe::str("unknown command '", moe::printable(argv[i], 40), "'");
      break;
    }
  for (int i = 1; i < argc; ++i) {
    const std::string word = moe::split(argv[i], '=')[0];
    if (std::find(words.begin(), words.end(), word) != words.end() || is_used(word)) continue;
    if (moe::starts_with(word, "--") || takes_commands)
      if (const std::string near = moe::nearest_word(word, words); !near.empty() && near != word)
        return message + "; did you mean " + near + "?";
  }
  return message;
}

int run(int argc, char** argv) {
  CLI::App app{"moe: Mixture-of-Experts language models, from text to a model that writes", "moe"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "moe 0.1.0");
  bool quiet = false;
  app.add_flag("--quiet", quiet, "print only warnings, errors and results");
  std::map<const CLI::App*, moe::RunCommand> runs;
  for (const Entry& entry : kCommands) {
    CLI::App* sub = app.add_subcommand(entry.name, entry.about);
    sub->footer(std::string("Examples:\n  ") + entry.examples);
    sub->fallthrough();  // moe train --quiet is moe --quiet train
    runs[sub] = entry.add(*sub);
  }
  if (argc <= 1) {
    moe::print_line(moe::trim(app.help()));
    return int(moe::ExitCode::usage);
  }
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const char* command : {"train", "compare", "sweep"})
    if (std::find(arguments.begin(), arguments.end(), command) != arguments.end()) {
      arguments = moe::expand_aliases(arguments);
      break;
    }
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    throw moe::Error(explain(e, app, argc, argv) +
                         " (moe --help lists commands, moe COMMAND --help its options)",
                     moe::ExitCode::usage);
  }
  moe::set_quiet(quiet);
  moe::check_processor();
  return runs.at(app.get_subcommands().front())();
}

void report(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", moe::printable(message, 4000).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  moe::ignore_write_signals();
  moe::exit_on_interrupt();
  try {
    return run(argc, argv);
  } catch (const moe::Error& e) {
    report(e.what());
    return int(e.exit_code());
  } catch (const std::bad_alloc&) {
    report("out of memory; use a smaller model, batch or sequence length");
    return int(moe::ExitCode::failure);
  } catch (const std::exception& e) {
    report(e.what());
    return int(moe::ExitCode::failure);
  }
}
