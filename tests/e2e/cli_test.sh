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
# Routers and experts.
expect_exit 0 "$moe" router list --json
expect_in out '"balanced_by_construction"'
expect_exit 0 "$moe" eval run --data text.txt --dump-router z3.npy --json
expect_exit 1 "$moe" router run top_k --logits z3.npy
expect_in err "wanted logits [tokens, experts]"
python3 - <<'PY'
import struct
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }"
header += ' ' * (63 - (10 + len(header)) % 64) + '\n'
open('z.npy', 'wb').write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() +
                          struct.pack('<8f', 2, 1, 0, -1, 0.25, 1.75, -0.5, 1))
PY
expect_exit 0 "$moe" router run top_k --logits z.npy top_k=2 --json
expect_in out '"experts": [[0, 1], [1, 3]]'
expect_exit 0 "$moe" router run switch --logits z.npy capacity_factor=1
expect_exit 2 "$moe" router run top_k --logits z.npy tok_k=2
expect_in err "did you mean model.moe.top_k"
expect_exit 2 "$moe" router run topk --logits z.npy
expect_in err "did you mean top_k"
expect_exit 0 "$moe" router selftest top_k --json
expect_in out '"failed": 0'
expect_exit 0 "$moe" experts run --data demo --tokens 500 --shuffles 20 --json
expect_in out '"coactivation"'
expect_exit 0 "$moe" experts run --data text.txt --by token --html experts.html --shuffles 20
expect_in experts.html "<svg"
expect_exit 0 "$moe" doctor run --json
expect_in out '"healthy"'
expect_exit 0 "$moe" calc mixtral-8x7b --json
expect_in out '"total_parameters": 46702792704'
expect_exit 0 "$moe" calc ffn 256
expect_in out "525,568"
expect_exit 0 "$moe" calc run --train
printf 'n_layer = 2\nn_head = 2\nn_embd = 32\nwandb_log = False\n' >tutorial.py
expect_exit 0 "$moe" config import tutorial.py
expect_in out "d_model: 32"
expect_exit 0 "$moe" train run_dir=aliased $tiny --num_experts 2 --load_balance_loss_weight=0.02 --monitor_expert_usage --print-config
expect_in out "n_experts: 2"
expect_exit 0 "$moe" compare dense-tiny moe-tiny --match active-params train.steps=2 train.batch_size=1 train.eval_windows=1 --out cmp --json
expect_in out '"active_parameters"'
expect_exit 0 "$moe" sweep moe-tiny model.moe.n_experts=2,4 train.steps=2 train.batch_size=1 train.eval_windows=1 --out swp
expect_in out "best:"
expect_exit 0 "$moe" advise --sweep swp --goal efficiency
expect_exit 0 "$moe" train run_dir=flat $tiny model.moe=null train.steps=2
expect_exit 0 "$moe" upcycle flat --experts 4 --top-k 2 --tokens 300 --out grown --json
expect_in out '"largest_logit_difference"'
expect_exit 0 "$moe" verify grown
expect_exit 0 "$moe" prune grown --experts 2 --tokens 300 --out pruned
expect_exit 0 "$moe" merge-experts grown --experts 2 --tokens 300 --out merged
expect_exit 0 "$moe" densify grown --tokens 300 --out dense
expect_exit 1 "$moe" prune grown --experts 2 --tokens 300 --out pruned
expect_in err "name a new folder"
expect_exit 0 "$moe" lr-find $tiny --steps 12 --json
expect_in out '"suggestion"'
expect_exit 2 "$moe" train run_dir=leaky $tiny model.moe.router=expert_choice
expect_in err "allow_noncausal"
expect_exit 0 "$moe" logits run --ids 1,2,3 --out x.npy
[ -s x.npy ] || fail "x.npy is missing"
expect_exit 0 "$moe" inspect run --json
expect_in out '"active_parameters"'
expect_exit 0 "$moe" inspect run --memory --json
expect_in out '"total_bytes"'
expect_exit 0 "$moe" inspect run --memory --batch 4 --optimizer muon
expect_in out "gradients"
expect_exit 2 "$moe" inspect run --memory --seq-len 65
expect_in err "max_seq_len 64"

# Benchmarks: one object with the figures that were asked for.
printf 'model: {n_layers: 1, d_model: 32, n_heads: 2, n_kv_heads: 2, head_dim: 16, moe: {n_experts: 4, d_ff: 16}}\n' >bench.yaml
for what in train decode prefill; do
  expect_exit 0 "$moe" bench "$what" --shape bench.yaml --steps 2 --threads 1 --json data.seq_len=64
  expect_in out '"tokens_per_second"'
  expect_in out '"phases"'
done
expect_exit 0 "$moe" bench train --shape bench.yaml --steps 1 --batch_sizes 1,2 --json data.seq_len=64
expect_in out '"results"'
expect_exit 0 "$moe" bench attention --shape bench.yaml --kv-heads 2,1 --impl naive,flash --json data.seq_len=64
expect_in out '"max_difference"'
expect_exit 2 "$moe" bench trian
expect_in err "did you mean train"
expect_exit 2 "$moe" bench train --batch 0
expect_in err "--batch"
expect_exit 2 "$moe" bench train --shape fin
expect_in err "did you mean fine"
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

# The program alone shows its help; a mistyped command names the nearest.
expect_exit 2 "$moe"
expect_in out "Usage"
expect_exit 2 "$moe" config shema
expect_in err "did you mean schema"
expect_exit 2 "$moe" data generat
expect_in err "did you mean generate"
for range in "-n -1" "--seed -1" "--seed 99999999999999999999"; do
  expect_exit 2 "$moe" generate run -p a $range
  [ "$(wc -c <err)" -lt 200 ] || fail "the range of '$range' is told at length"
done
expect_exit 2 "$moe" train run_dir=no --isa x
for name in $(sed -n 's/.*use one of //p' err | tr -d ,); do
  "$moe" train --help | grep -qF -- "$name" || fail "--help does not name the kernels $name"
done
printf 'modle: {n_layers: 2}\n' >bad.yaml
expect_exit 2 "$moe" train bad.yaml
expect_in err "bad.yaml:1"

# A resume that is refused changes nothing, and the run goes on afterwards; a checkpoint is no run folder.
cp run/config.yaml before.yaml
expect_exit 2 "$moe" train --resume run model.d_model=64
expect_in err "model.d_model is 64, but the run was trained with 32"
expect_exit 1 "$moe" train --resume run data.path=missing.txt
expect_exit 2 "$moe" train --resume run train.seed=2
cmp run/config.yaml before.yaml || fail "a refused resume changed config.yaml"
expect_exit 2 "$moe" train --resume run/checkpoints/ckpt-000008
expect_in err "moe train --resume run"
expect_one_line err
expect_exit 0 "$moe" train --resume run train.steps=9
expect_exit 0 "$moe" train --resume run --json
expect_in out '"loss": 5.'
expect_exit 1 "$moe" train run_dir=fresh/run $tiny data.path=missing.txt
[ ! -e fresh ] || fail "a failed run left its folder"
mkdir -p default && (cd default && "$moe" train $tiny --quiet && "$moe" train --resume --quiet) 2>err ||
  fail "a bare --resume does not find the default folder: $(cat err)"
expect_in err "finished at step 8"  # with the defaults it would have been another model

head -c 3000000 /dev/zero | tr '\0' 'a' >long.txt
# The model card says what is known: language and data, the model that it started from, and no licence.
card=run/checkpoints/ckpt-000009/README.md
expect_in "$card" "language: en"
expect_in "$card" "- demo"
if grep -q "license:\|base_model:" "$card"; then fail "the card claims a licence or a base model"; fi
expect_exit 0 "$moe" train run_dir=tuned model.init_from=run data.path=long.txt train.steps=1 train.batch_size=1 train.threads=1
expect_in tuned/checkpoints/ckpt-000001/README.md "base_model: run"

# --quiet silences progress, not results.
expect_exit 0 "$moe" train run_dir=quiet $tiny --quiet
expect_one_line err
expect_in err "done: 8 steps"

# The demo goes on with its own changes; Ctrl-C ends its exam.
demo="model.n_layers=1 model.d_model=32 model.n_heads=1 model.n_kv_heads=1 model.moe.n_experts=2 model.moe.d_ff=16 train.steps=3
  train.eval_every=0 train.minutes=0"
expect_exit 0 "$moe" demo run_dir=demo $demo --seed 3 --questions 1
grep -q "seed: 3" demo/config.yaml || fail "--seed did not reach the demo"
expect_exit 0 "$moe" demo --resume run_dir=demo --questions 1
[ -s demo/experts.svg ] || fail "without an evaluation there is no experts.svg"
"$moe" demo --resume run_dir=demo --questions 2000 >/dev/null 2>exam &
pid=$!
while ! grep -q "exam on unseen" exam; do sleep 0.05; done
kill -INT "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -eq 130 ] || fail "Ctrl-C in the exam: exit $status, not 130"

# So does any long command, with one line.
for command in "data generate -n 1000000000" "eval run --data long.txt"; do
  "$moe" $command >/dev/null 2>stopped &
  pid=$!
  # Until it catches signal 15; under a sanitizer on a busy machine that takes a while.
  until ! kill -0 "$pid" 2>/dev/null || (($((16#$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status"))) & 1 << 14)); do
    sleep 0.05
  done
  sleep 0.3
  kill -TERM "$pid" || true
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 130 ] || fail "$command: exit $status after a signal, not 130"
  expect_in stopped interrupted
done

# Output that goes nowhere, a file size limit, too little memory.
status=0
"$moe" train run_dir=full $tiny --log-json >/dev/full 2>err || status=$?
[ "$status" -eq 74 ] || fail "--log-json on a full disk: exit $status, not 74"
expect_exit 0 "$moe" verify full
status=0
{ "$moe" train run_dir=pipe $tiny train.steps=2000 --log-json 2>err || echo "$?" >status; } | head -n 1 >out
[ "$(cat status)" -eq 74 ] || fail "--log-json into a closed pipe: exit $(cat status), not 74"
expect_exit 0 "$moe" verify pipe
status=0
(ulimit -f 30 && exec "$moe" train run_dir=limit $tiny >out 2>err) || status=$?
[ "$status" -eq 74 ] || fail "file size limit: exit $status, not 74"
expect_in err "File too large"
if ls limit/checkpoints | grep -q tmp; then fail "the failed save left a temporary folder"; fi
expect_exit 1 "$moe" train run_dir=huge model.d_model=16384 model.n_layers=200
expect_in err "are available; lower"
expect_one_line err
# Memory says nothing under a sanitizer, with its shadow and its quarantine.
is_plain=0
if (ulimit -v 3000000 && exec "$moe" --version) >/dev/null 2>&1; then is_plain=1; fi
if [ "$is_plain" -eq 1 ]; then
  status=0
  (ulimit -v 3000000 && exec "$moe" train run_dir=huge train.threads=1 model.d_model=2048 model.n_layers=24 >out 2>err) || status=$?
  [ "$status" -eq 1 ] || fail "ulimit -v: exit $status, not 1"
  expect_in err "are available; lower"
fi

# verify names the one damaged tensor.
python3 - <<'PY'
import json, struct
path = "stop/checkpoints/" + open("stop/checkpoints/latest").read().strip() + "/model.safetensors"
data = bytearray(open(path, "rb").read())
n = struct.unpack("<Q", data[:8])[0]
begin = json.loads(data[8:8 + n])["model.norm.weight"]["data_offsets"][0]
data[8 + n + begin + 1] ^= 1
open(path, "wb").write(data)
PY
expect_exit 1 "$moe" verify stop
[ "$(grep -o '; tensors: .*' out)" = "; tensors: model.norm.weight" ] || fail "verify does not name the one tensor: $(cat out)"

# Generation: one value a --stop; rows do not depend on their place; lines may end as in Windows.
expect_exit 0 "$moe" generate --stop X --stop Y run -p a -n 4
printf 'ab\r\ncd\r\n' >one && printf 'cd\nab\n' >two
expect_exit 0 "$moe" generate run --prompts one -n 6 --json
python3 - "$moe" <<'PY'
import json, subprocess, sys
def run(*arguments):
    return json.loads(subprocess.run([sys.argv[1], "generate", "run", "-n", "6", "--json", *arguments], check=True, capture_output=True).stdout)
one, two = run("--prompts", "one")["results"], run("--prompts", "two")["results"]
assert one == two[::-1], (one, two)
assert one[0] == run("-p", "ab"), one
open("three", "w").write("ab\nab\n")
twice = run("--prompts", "three")["results"]
assert twice[0] == one[0] and twice[0] != twice[1], twice
PY

# Token ids: the type of a .bin is asked for where it cannot be told, sequences are evaluated one by one.
python3 - <<'PY'
import struct
ids = [(7 * i * i + 3 * i) % 250 for i in range(3000)]
open("ids16.bin", "wb").write(struct.pack("<3000H", *ids))
open("ids32.bin", "wb").write(struct.pack("<3000I", *ids))
def npy(name, shape):
    head = "{'descr': '<u2', 'fortran_order': False, 'shape': %s, }" % (shape,)
    head = head.ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<3000H", *ids))
npy("flat.npy", "(3000,)")
npy("rows.npy", "(60, 50)")
PY
expect_exit 2 "$moe" eval run --data ids32.bin
expect_in err "--token-dtype"
expect_exit 0 "$moe" eval run --data ids32.bin --token-dtype u32 --json
cp out u32.json
expect_exit 0 "$moe" eval run --data ids16.bin --json
cmp out u32.json || fail "u16 and u32 files of the same ids differ"
expect_exit 0 "$moe" eval run --data flat.npy --json
cmp out u32.json || fail ".npy and .bin of the same ids differ"
expect_exit 0 "$moe" eval run --data rows.npy --json
expect_in out '"tokens": 2940'
expect_exit 0 "$moe" train run_dir=ids $tiny data.path=ids32.bin data.token_dtype=u32
expect_exit 0 "$moe" eval ids --data ids32.bin --json
expect_in out '"tokens": 2999'
expect_exit 2 "$moe" generate ids --ids 1,2 --stop x
expect_in err "--stop needs text"

# A checkpoint that is damaged is read when it is named, with one warning.
damaged=stop/checkpoints/$(cat stop/checkpoints/latest)
expect_exit 0 "$moe" logits "$damaged" --ids 1,2,3 --out damaged.npy
expect_in err "does not fit its manifest"
expect_one_line err
expect_exit 0 "$moe" generate "$damaged" --ids 1,2,3 -n 2
expect_in err "does not fit its manifest"

# What is written to a pipe or through a link leaves both what they are.
mkfifo pipe.npy
ln -s linked/y.npy link.npy
mkdir linked
"$moe" logits run --ids 1,2,3 --out pipe.npy &
pid=$!
cat pipe.npy >from_pipe.npy
wait "$pid" || fail "logits into a pipe"
expect_exit 0 "$moe" logits run --ids 1,2,3 --out link.npy
[ -p pipe.npy ] && [ -L link.npy ] || fail "a pipe or a link was replaced"
cmp from_pipe.npy linked/y.npy || fail "logits through a pipe and a link differ"

# inspect sees that config.json belongs to other weights, and takes little memory for many tensors.
cp -r run/checkpoints/ckpt-000008 many
sed -i 's/"num_hidden_layers": 2/"num_hidden_layers": 1/' many/config.json
expect_exit 1 "$moe" inspect many
expect_in err "belong together"
expect_one_line err
cp run/checkpoints/ckpt-000008/config.json many/config.json
python3 - "$moe" "$is_plain" <<'PY'
import json, os, resource, struct, subprocess, sys
path = "many/model.safetensors"
data = open(path, "rb").read()
n = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + n])
end = len(data) - 8 - n
header.update({"empty.%05d" % i: {"dtype": "F32", "shape": [0], "data_offsets": [end, end]} for i in range(20000)})
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open(path, "wb").write(struct.pack("<Q", len(text)) + text + data[8 + n:])
def peak(*arguments):
    process = subprocess.Popen([sys.argv[1], "inspect", *arguments], stdout=subprocess.PIPE)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return usage.ru_maxrss * 1024, out
for options in ([], ["--json"]):
    few, _ = peak("run", *options)
    most, out = peak("many", *options)
    assert out.count(b"empty.") == 20000
    assert sys.argv[2] == "0" or most - few < 4 * os.path.getsize(path) + (1 << 20), (options, few, most, os.path.getsize(path))
assert json.loads(out)["tensors"][0]["name"] == "empty.00000"
PY
# Routers and experts by one word each; care for single experts.
for word in model.moe.router=moe_pp model.moe.expert=linear model.moe.balance_loss=hf model.moe.router=cosine; do
  rm -rf word
  expect_exit 0 "$moe" train run_dir=word $tiny "$word" train.log_expert_norms=true train.dead_expert_steps=2
  expect_in word/metrics.jsonl '"expert_grad_norms"'
done
rm -rf word
expect_exit 0 "$moe" train run_dir=word $tiny model.moe.top_k=1
expect_in err "no gradient from the task"
expect_exit 2 "$moe" train run_dir=none $tiny "train.freeze=*.experts.99.*"
expect_in err "no tensor is called"
expect_exit 2 "$moe" train run_dir=none $tiny model.moe.router=base model.moe.balance_loss=cv2
expect_in err "balance_loss"
echo "cli: passed"
