#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# From conversations to a model one talks to: fine-tuning, an adapter, merging, chat from a file and a pipe, an exam, and a
# pipeline that goes on where it was stopped.
. "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
moe=$MOE_BINARY
small=(model.d_model=32 model.n_layers=1 model.n_heads=2 model.n_kv_heads=2 model.head_dim=16 model.d_ff=32 model.moe.n_experts=4
  model.moe.d_ff=32 model.max_seq_len=256 data.seq_len=256 train.batch_size=4 optim.warmup_steps=5)

"$moe" data chat -n 200 --turns 2 --out chats.jsonl >/dev/null
"$moe" tokenizer train chats.jsonl --vocab-size 300 --special '<|endoftext|>' --special '<|im_start|>' --special '<|im_end|>' --out tok >/dev/null
expect_exit 0 "$moe" train stage=sft data.path=chats.jsonl data.tokenizer=tok run_dir=sft train.epochs=3 optim.lr=0.01 "${small[@]}"
checkpoint=$(ls -d sft/checkpoints/ckpt-* | tail -1)
[ -f "$checkpoint/chat_template.jinja" ] || fail "the checkpoint holds no chat template"
expect_exit 0 "$moe" train stage=sft data.path=chats.jsonl model.init_from=sft lora.targets=attention,experts lora.rank=4 \
  run_dir=lora train.steps=5 optim.lr=0.02 data.seq_len=256
adapter=$(ls -d lora/checkpoints/ckpt-* | tail -1)
[ -f "$adapter/adapter_config.json" ] && [ ! -f "$adapter/model.safetensors" ] || fail "an adapter's checkpoint"
expect_exit 0 "$moe" lora inspect lora
expect_in out "mlp.experts.3.up_proj"
expect_exit 0 "$moe" lora inspect stage=sft data.path=chats.jsonl model.init_from=sft lora.targets=all-linear train.batch_size=8 data.seq_len=256
expect_in out "gradient norm"
expect_exit 0 "$moe" merge sft --adapter lora --out merged
expect_in out "merged"
printf 'sort fabcd\n/tokens\n/reset\nreverse abcde\n' >prompts.txt
expect_exit 0 "$moe" chat merged --auto prompts.txt --temp 0 -n 20 --json
cp out merged.json
expect_exit 0 "$moe" chat lora --auto prompts.txt --temp 0 -n 20 --json
cp out own.json
expect_exit 0 "$moe" chat sft --adapter lora --auto prompts.txt --temp 0 -n 20 --json
cmp out own.json || fail "an adapter beside its model answers otherwise than by itself"
python3 - <<'PY' || fail "chat --json"
import json
answers = json.load(open("own.json"))["answers"]
assert [a["prompt"] for a in answers] == ["sort fabcd", "reverse abcde"], answers
PY
# The same turns through a pipe; one wrong command ends nothing.
printf '/sistem x\n/system Be brief.\nsort\\\nabc\n/save talk.json\n/exit\n' | "$moe" chat sft -n 8 --temp 0 >out 2>err || fail "chat from a pipe"
expect_in err "did you mean /system?"
python3 -c 'import json; m = json.load(open("talk.json"))["messages"]; assert [x["role"] for x in m] == ["system", "user", "assistant"] and m[1]["content"] == "sort\nabc", m' || fail "/save"
expect_exit 0 "$moe" exam sft --data chats.jsonl -n 20
expect_in out "turn 2"
expect_exit 1 "$moe" exam sft --data chats.jsonl -n 20 --at-least turns=1

refused() { # CODE TEXT COMMAND...
  local code=$1 text=$2
  shift 2
  expect_exit "$code" "$@"
  expect_one_line err
  expect_in err "$text"
}
refused 1 "moe merge" "$moe" inspect lora
refused 1 "exists already" "$moe" merge sft --adapter lora --out merged
refused 2 "Did you mean attention?" "$moe" train stage=sft data.path=chats.jsonl model.init_from=sft lora.targets=atention run_dir=bad
[ ! -e bad ] || fail "a refused run left something"
refused 2 "model.init_from" "$moe" train stage=sft data.path=chats.jsonl lora.targets=attention run_dir=bad
refused 2 "no adapter is called" "$moe" chat sft --adapter lora --use other --auto prompts.txt
"$moe" train run_dir=other train.steps=1 model.d_model=48 model.n_layers=1 data.seq_len=32 2>/dev/null
refused 1 "made for another" "$moe" chat other --adapter lora --auto prompts.txt

# A dense model: DoRA, and LoRA experts with a router, which no matrix can hold; each by its name.
expect_exit 0 "$moe" train stage=sft data.path=chats.jsonl data.tokenizer=tok run_dir=dense model.moe=null train.steps=20 model.d_model=32 \
  model.n_layers=1 model.n_heads=2 model.n_kv_heads=2 model.head_dim=16 model.d_ff=32 model.max_seq_len=256 data.seq_len=256 train.batch_size=4
tune=(stage=sft data.path=chats.jsonl model.init_from=dense lora.targets=attention lora.rank=2 train.steps=3 data.seq_len=256)
expect_exit 0 "$moe" train "${tune[@]}" run_dir=dora lora.use_dora=true
expect_exit 0 "$moe" train "${tune[@]}" run_dir=mixture lora.moe_lora.n_experts=3
grep -q '"experts": \[\[' mixture/metrics.jsonl || fail "the log shows no loads of the LoRA experts"
expect_exit 0 "$moe" lora inspect mixture
expect_in out "mlp.moe_lora.experts.2.down_proj"
expect_exit 0 "$moe" lora inspect "${tune[@]}" lora.moe_lora.n_experts=3 train.batch_size=4
expect_in out "mlp.moe_lora.gate"
for use in d m; do
  expect_exit 0 "$moe" chat dense --adapter d=dora --adapter m=mixture --use $use --auto prompts.txt --temp 0 -n 8 --json
  cp out $use.json
done
expect_exit 0 "$moe" chat mixture --auto prompts.txt --temp 0 -n 8 --json
cmp out m.json || fail "the mixture beside another adapter answers otherwise than by itself"
expect_exit 0 "$moe" merge dense --adapter dora --out merged-dora
refused 1 "cannot be merged" "$moe" merge dense --adapter mixture --out merged-mixture
[ ! -e merged-mixture ] || fail "a refused merge left something"
refused 1 "for a dense model" "$moe" chat sft --adapter mixture --auto prompts.txt
refused 2 "routed experts" "$moe" train stage=sft data.path=chats.jsonl model.init_from=sft lora.moe_lora.n_experts=2 run_dir=bad
refused 2 "top_k is 4" "$moe" train "${tune[@]}" lora.moe_lora.n_experts=3 lora.moe_lora.top_k=4 run_dir=bad
refused 2 "lora.alpha is 0" "$moe" train "${tune[@]}" lora.alpha=0 run_dir=bad
[ ! -e bad ] || fail "a refused run left something"

# A pipeline that is stopped goes on; done stages are not done again.
cat >road.yaml <<'YAML'
run_dir: road
stages:
  - {name: data, run: "data chat -n 40 --turns 1 --out {run_dir}/chats.jsonl"}
  - name: sft
    train: {stage: sft, model: {d_model: 16, n_layers: 1, max_seq_len: 128}, data: {path: "{run_dir}/chats.jsonl", seq_len: 128}, train: {steps: 2}}
  - {name: exam, run: "exam {run_dir}/sft --data {run_dir}/chats.jsonl -n 4 --at-least strings=1"}
YAML
expect_exit 1 "$moe" pipeline run road.yaml
expect_in err "the stage exam failed"
sed -i 's/ --at-least strings=1//' road.yaml
expect_exit 0 "$moe" pipeline run road.yaml
expect_in err "[2/3] sft: done before"
expect_exit 0 "$moe" pipeline show "$MOE_SOURCE_DIR/recipes/zero-to-chat.yaml" name=Ada
expect_in out "--name Ada"
