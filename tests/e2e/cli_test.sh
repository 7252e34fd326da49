#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program from outside: what a person does, and what a person does wrong. Exit codes and one clear line each.
. "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
moe=$MOE_BINARY
tiny="model.n_layers=2 model.d_model=32 model.n_heads=2 model.n_kv_heads=2 model.head_dim=16 model.max_seq_len=64
  model.moe.n_experts=4 model.moe.d_ff=16 data.seq_len=64 train.batch_size=2 train.steps=8 train.eval_every=4
  train.eval_windows=2 train.checkpoint_every=4 optim.warmup_steps=2"

# A run, its files, its outcome.
expect_exit 0 "$moe" train run_dir=run $tiny
for file in config.yaml metrics.jsonl loss.svg experts.svg checkpoints/ckpt-000008/model.safetensors \
  checkpoints/ckpt-000008/config.json checkpoints/ckpt-000008/tokenizer.json checkpoints/ckpt-000008/README.md; do
  [ -s "run/$file" ] || fail "run/$file is missing"
done
[ "$(grep -c '' run/metrics.jsonl)" -eq 8 ] || fail "metrics.jsonl should have 8 lines"
expect_in run/checkpoints/ckpt-000008/config.json '"model_type": "qwen3_moe"'
expect_exit 0 "$moe" verify run
expect_exit 0 "$moe" verify run --parity --json
expect_in out '"differing_bits": 0'
expect_exit 1 "$moe" verify run --parity --plant --json
expect_exit 0 "$moe" generate run -p "82+69=" -n 5 --temp 0 --json
expect_in out '"finish_reason"'
expect_exit 0 "$moe" generate run --ids 1,2,3 -n 4 --json
printf 'ab\nlonger prompt\n' >prompts
expect_exit 0 "$moe" generate run --prompts prompts -n 4
[ "$(grep -c '' out)" -ge 2 ] || fail "two prompts should give two results"
printf 'hello hello hello' >text.txt
expect_exit 0 "$moe" eval run --data text.txt --json
expect_in out '"bits_per_byte"'
expect_exit 0 "$moe" logits run --ids 1,2,3 --out x.npy
[ -s x.npy ] || fail "x.npy is missing"
expect_exit 0 "$moe" inspect run --json
expect_in out '"active_parameters"'
expect_exit 0 "$moe" diff run run
expect_exit 0 "$moe" train --resume run
expect_in err "finished"

# What a person does wrong.
expect_exit 2 "$moe" train run_dir=run $tiny
expect_in err "--resume"
expect_one_line err
expect_exit 2 "$moe" train run_dir=no modle.n_layers=3
expect_in err "did you mean model.n_layers"
expect_exit 2 "$moe" train run_dir=no model.moe.top_k=9
expect_in err "top_k"
expect_exit 2 "$moe" train run_dir=no model.head_dim=7
expect_in err "head_dim"
expect_exit 2 "$moe" train run_dir=no data.seq_len=512
expect_in err "max_seq_len"
expect_exit 2 "$moe" train missing.yaml
expect_in err "missing.yaml"
expect_exit 1 "$moe" train run_dir=no $tiny data.path=missing.txt
expect_in err "missing.txt"
: >empty.txt
expect_exit 1 "$moe" train run_dir=no $tiny data.path=empty.txt
expect_in err "empty"
printf 'abc\xff\xfedef' >broken.txt
expect_exit 1 "$moe" train run_dir=no $tiny data.path=broken.txt data.tokenizer=char
expect_in err "broken.txt"
expect_exit 1 "$moe" train run_dir=no $tiny data.path=text.txt
expect_in err "seq_len"
expect_exit 2 "$moe" generate run
expect_exit 2 "$moe" generat run
expect_in err "generate"
expect_exit 2 "$moe" generate run -p a --top-p 0
expect_exit 1 "$moe" generate nowhere -p a
expect_in err "nowhere"
expect_exit 1 "$moe" train run_dir=diverge $tiny optim.name=sgd optim.lr=1e6 optim.grad_clip=0 train.steps=100 train.checkpoint_every=1
expect_in err "diverged"
expect_exit 0 "$moe" verify diverge

# Ctrl-C once: a checkpoint and 130; the run goes on from there. kill -9: the same from the last checkpoint.
"$moe" train run_dir=stop $tiny train.steps=100000 train.checkpoint_every=0 >/dev/null 2>&1 &
pid=$!
while [ ! -s stop/metrics.jsonl ]; do sleep 0.1; done
kill -INT "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -eq 130 ] || fail "interrupted run ended with $status, not 130"
expect_exit 0 "$moe" verify stop
"$moe" train --resume stop train.steps=1000000 train.checkpoint_every=5 >/dev/null 2>&1 &
pid=$!
while [ "$(ls stop/checkpoints | grep -c '^ckpt-[0-9]*$')" -lt 3 ]; do sleep 0.1; done
kill -KILL "$pid"
wait "$pid" || true
expect_exit 0 "$moe" generate stop -p a -n 2
echo "cli: passed"
