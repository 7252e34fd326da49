// SPDX-License-Identifier: MIT
#include "moe/train/config_import.h"

#include <algorithm>
#include <map>
#include <set>

#include "moe/base/error.h"
#include "moe/base/str.h"

namespace moe {
namespace {

// One name to the keys it sets.
const std::map<std::string, std::vector<std::string>>& names() {
  static const std::map<std::string, std::vector<std::string>> table = {
      {"n_layer", {"model.n_layers"}},
      {"n_layers", {"model.n_layers"}},
      {"num_layers", {"model.n_layers"}},
      {"n_embd", {"model.d_model"}},
      {"d_model", {"model.d_model"}},
      {"hidden_size", {"model.d_model"}},
      {"n_head", {"model.n_heads"}},
      {"n_heads", {"model.n_heads"}},
      {"num_heads", {"model.n_heads"}},
      {"n_kv_head", {"model.n_kv_heads"}},
      {"n_kv_heads", {"model.n_kv_heads"}},
      {"head_dim", {"model.head_dim"}},
      {"d_ff", {"model.d_ff"}},
      {"intermediate_size", {"model.d_ff"}},
      {"expert_d_ff", {"model.moe.d_ff"}},
      {"block_size", {"model.max_seq_len", "data.seq_len"}},
      {"max_seq_len", {"model.max_seq_len", "data.seq_len"}},
      {"context_length", {"model.max_seq_len", "data.seq_len"}},
      {"vocab_size", {"model.vocab_size"}},
      {"dropout", {"model.dropout"}},
      {"bias", {"model.bias"}},
      {"theta", {"model.rope_theta"}},
      {"rope_theta", {"model.rope_theta"}},
      {"norm_eps", {"model.norm_eps"}},
      {"num_experts", {"model.moe.n_experts"}},
      {"n_experts", {"model.moe.n_experts"}},
      {"top_k", {"model.moe.top_k"}},
      {"num_experts_per_tok", {"model.moe.top_k"}},
      {"experts_per_token", {"model.moe.top_k"}},
      {"n_shared_experts", {"model.moe.n_shared_experts"}},
      {"capacity_factor", {"model.moe.capacity_factor"}},
      {"moe_layer_indices", {"model.moe.layers"}},
      {"moe_aux_loss_weight", {"model.moe.aux_loss_weight"}},
      {"aux_loss_weight", {"model.moe.aux_loss_weight"}},
      {"load_balance_loss_weight", {"model.moe.aux_loss_weight"}},
      {"router_z_loss_weight", {"model.moe.z_loss_weight"}},
      {"z_loss_weight", {"model.moe.z_loss_weight"}},
      {"learning_rate", {"optim.lr"}},
      {"lr", {"optim.lr"}},
      {"min_lr", {"optim.min_lr"}},
      {"max_iters", {"train.steps"}},
      {"max_steps", {"train.steps"}},
      {"steps", {"train.steps"}},
      {"warmup_iters", {"optim.warmup_steps"}},
      {"warmup_steps", {"optim.warmup_steps"}},
      {"lr_decay_iters", {"optim.decay_steps"}},
      {"weight_decay", {"optim.weight_decay"}},
      {"grad_clip", {"optim.grad_clip"}},
      {"max_grad_norm", {"optim.grad_clip"}},
      {"batch_size", {"train.batch_size"}},
      {"gradient_accumulation_steps", {"train.grad_accum"}},
      {"eval_interval", {"train.eval_every"}},
      {"seed", {"train.seed"}},
      {"out_dir", {"run_dir"}},
      {"dataset", {"data.path"}},
      {"data_path", {"data.path"}},
  };
  return table;
}

[[noreturn]] void fail(const std::string& what, size_t line, const std::string& why) {
  throw Error(str(what, " line ", line, ": ", why), ExitCode::usage);
}

bool is_name(const std::string& s) {
  return !s.empty() && (std::isalpha(static_cast<unsigned char>(s[0])) || s[0] == '_') &&
         std::all_of(s.begin(), s.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

// Without a comment that stands outside of quotes.
std::string without_comment(const std::string& line) {
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (quote != 0)
      quote = line[i] == quote ? char(0) : quote;
    else if (line[i] == '\'' || line[i] == '"')
      quote = line[i];
    else if (line[i] == '#')
      return line.substr(0, i);
  }
  return line;
}

// A Python literal as YAML text.
std::string value_of(std::string v, const std::string& what, size_t line) {
  if (v == "True") return "true";
  if (v == "False") return "false";
  if (v == "None") return "null";
  if (v.size() >= 2 && (v[0] == '\'' || v[0] == '"')) {
    if (v.back() != v[0] || v.find(v[0], 1) != v.size() - 1)
      fail(what, line, "the string " + printable(v, 40) + " does not end");
    return v.substr(1, v.size() - 2);
  }
  if (v.front() == '[' || v.front() == '(') {
    if (v.back() != (v.front() == '[' ? ']' : ')')) fail(what, line, "the list does not end");
    std::string inner = v.substr(1, v.size() - 2), out;
    for (const std::string& item : split(inner, ','))
      if (!trim(item).empty()) out += (out.empty() ? "" : ",") + trim(item);
    return "[" + out + "]";
  }
  v.erase(std::remove(v.begin(), v.end(), '_'), v.end());  // 1_000
  if (v.find('*') != std::string::npos && v.find("**") == std::string::npos) {
    double product = 1;
    for (const std::string& factor : split(v, '*')) {
      const std::string f = trim(factor);
      size_t used = 0;
      try {
        product *= std::stod(f, &used);
      } catch (const std::exception&) {
        used = 0;
      }
      if (used == 0 || used != f.size())
        fail(what, line, "'" + printable(v, 40) + "' is no product of numbers");
    }
    return str(product);
  }
  size_t used = 0;
  try {
    std::stod(v, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != v.size())
    fail(what, line,
         "'" + printable(v, 40) +
             "' is no number, string, list, True, False or None; nothing is run");
  return v;
}

int64_t whole(const std::string& value, const std::string& name, const std::string& what) {
  size_t used = 0;
  int64_t n = 0;
  try {
    n = std::stoll(value, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != value.size() || n < 1 || n > (int64_t{1} << 40))
    throw Error(
        str(what, ": ", name, " is '", printable(value, 40), "', not a whole number from 1"),
        ExitCode::usage);
  return n;
}

}  // namespace

ImportedConfig import_config(const std::string& text, const std::string& what) {
  std::map<std::string, std::string> given;
  std::vector<std::string> order;
  size_t number = 0;
  std::string pending;
  size_t pending_line = 0;
  for (std::string line : split(text, '\n')) {
    ++number;
    line = trim(without_comment(line));
    if (line.empty()) continue;
    if (!pending.empty()) {
      line = pending + " " + line;  // a list over several lines
      pending.clear();
    } else {
      pending_line = number;
    }
    const size_t opens = size_t(std::count_if(line.begin(), line.end(),
                                              [](char c) { return c == '[' || c == '('; })),
                 closes = size_t(std::count_if(line.begin(), line.end(),
                                               [](char c) { return c == ']' || c == ')'; }));
    if (opens > closes && line.find('=') != std::string::npos) {
      pending = line;
      continue;
    }
    // Several key=value words on one line, without blanks around the signs.
    std::vector<std::string> assignments = {line};
    if (line.find(" = ") == std::string::npos && line.find(' ') != std::string::npos &&
        line.find('[') == std::string::npos && line.find('"') == std::string::npos)
      assignments = split(line, ' ');
    for (std::string a : assignments) {
      a = trim(a);
      if (a.empty()) continue;
      if (ends_with(a, ",")) a.pop_back();
      const size_t equals = a.find('=');
      std::string name = equals == std::string::npos ? "" : trim(a.substr(0, equals));
      if (const size_t colon = name.find(':'); colon != std::string::npos)
        name = trim(name.substr(0, colon));  // name: int = 3
      while (starts_with(name, "-")) name = name.substr(1);
      const std::string value = equals == std::string::npos ? "" : trim(a.substr(equals + 1));
      if (!is_name(name) || value.empty() || value[0] == '=')
        fail(what, pending_line,
             "'" + printable(line, 60) + "' is no assignment; only name = value lines are read");
      if (!given.contains(name)) order.push_back(name);
      given[name] = value_of(value, what, pending_line);
    }
  }
  if (!pending.empty()) fail(what, pending_line, "the list does not end");
  if (given.empty()) throw Error(what + ": holds no name = value line", ExitCode::usage);

  ImportedConfig out;
  std::set<std::string> set;
  const auto add = [&](const std::string& key, const std::string& value) {
    out.keys.push_back(key + "=" + value);
    set.insert(key);
  };
  for (const std::string& name : order) {
    const std::string& value = given[name];
    const auto found = names().find(name);
    if (found == names().end()) {
      static const std::set<std::string> handled = {"beta1", "beta2", "use_moe_aux_loss",
                                                    "decay_lr", "use_moe"};
      if (!handled.contains(name)) out.ignored.push_back(name + " = " + value);
      continue;
    }
    for (const std::string& key : found->second) add(key, value);
  }
  const auto has = [&](const char* name) { return given.contains(name); };
  if (has("beta1") || has("beta2"))
    add("optim.betas", str("[", has("beta1") ? given["beta1"] : "0.9", ", ",
                           has("beta2") ? given["beta2"] : "0.95", "]"));
  if (has("decay_lr") && given["decay_lr"] == "false") add("optim.schedule", "constant");
  if (has("use_moe_aux_loss") && given["use_moe_aux_loss"] == "false")
    add("model.moe.aux_loss_weight", "0");
  // A file that names no expert describes a dense model.
  const bool experts = std::any_of(set.begin(), set.end(), [](const std::string& key) {
    return starts_with(key, "model.moe.");
  });
  if (!experts || (has("use_moe") && given["use_moe"] == "false")) {
    std::erase_if(out.keys, [](const std::string& k) { return starts_with(k, "model.moe."); });
    out.keys.insert(out.keys.begin(), "model.moe=null");
  } else if (set.contains("model.d_ff") && !set.contains("model.moe.d_ff")) {
    for (const char* name : {"d_ff", "intermediate_size"})
      if (has(name)) add("model.moe.d_ff", given[name]);
  }
  // GPT's own names stand for GPT's own block.
  if (has("n_embd")) {
    for (const char* key :
         {"model.norm=layer_norm", "model.position=learned", "model.activation=gelu",
          "model.qk_norm=false", "model.tie_embeddings=true"})
      out.keys.emplace_back(key);
    const std::string wide = str(4 * whole(given["n_embd"], "n_embd", what));
    if (!set.contains("model.d_ff")) add("model.d_ff", wide);
    if (experts && !set.contains("model.moe.d_ff")) add("model.moe.d_ff", wide);
  }
  for (const char* heads : {"n_head", "n_heads", "num_heads"}) {
    if (!has(heads)) continue;
    if (!set.contains("model.n_kv_heads")) add("model.n_kv_heads", given[heads]);
    for (const char* width : {"n_embd", "d_model", "hidden_size"})
      if (has(width) && !set.contains("model.head_dim")) {
        const int64_t h = whole(given[heads], heads, what), d = whole(given[width], width, what);
        if (d % h != 0)
          throw Error(str(what, ": ", width, " ", d, " is no multiple of ", heads, " ", h),
                      ExitCode::usage);
        add("model.head_dim", str(d / h));
      }
  }
  return out;
}

}  // namespace moe
