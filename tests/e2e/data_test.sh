#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# moe data from outside: records of every kind train a model, copies go, wrong lines are named.
. "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
moe=$MOE_BINARY

"$moe" data generate -n 300 --json | sed 's/^.*"prompt": *"\(.*\)", *"answer": *"\(.*\)"}$/{"text": "\1\2"}/' >texts.jsonl
gzip -k texts.jsonl
for file in texts.jsonl texts.jsonl.gz; do
  expect_exit 0 "$moe" train data.path=$file run_dir="run-$file" train.steps=2 model.d_model=16 model.n_layers=1 data.seq_len=32
done
cmp run-texts.jsonl/checkpoints/ckpt-000002/model.safetensors run-texts.jsonl.gz/checkpoints/ckpt-000002/model.safetensors ||
  fail "compressed data trains another model"

expect_exit 0 "$moe" data inspect texts.jsonl.gz --json
expect_in out '"form": "text"'
echo '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}' >chats.jsonl
echo '{"messages": [{"role": "assistant"}]}' >>chats.jsonl
expect_exit 0 "$moe" data inspect chats.jsonl
expect_in out "[b<|im_end|>]"
expect_in out "line 2"

cp texts.jsonl copies.jsonl
expect_exit 0 "$moe" data dedup texts.jsonl copies.jsonl --out clean --json
[ ! -s clean/copies.jsonl ] || fail "copies of the first file are still in the second"
[ "$(wc -l <clean/texts.jsonl)" -gt 10 ] || fail "the first file lost its records"

expect_exit 0 "$moe" data filter texts.jsonl --min-chars 20 --block-words tom --out good --rejected why.jsonl --json
expect_in out '"min_characters"'
[ "$(($(wc -l <good/texts.jsonl) + $(wc -l <why.jsonl)))" -eq "$(wc -l <texts.jsonl)" ] || fail "filter lost records"
expect_exit 0 "$moe" data split texts.jsonl --val 0.3 --test 0.2 --out parts --json
[ "$(cat parts/*.jsonl | sort | md5sum)" = "$(sort texts.jsonl | md5sum)" ] || fail "split lost or changed records"
expect_exit 2 "$moe" data split texts.jsonl --val 0.8 --test 0.5 --out parts

expect_exit 0 "$moe" data identity --name Ada --author "the team" --out self.jsonl
expect_in self.jsonl "I am Ada, an AI assistant made by the team."
echo '[{"instruction": "hi", "output": "I am {{name}} of {{author}}."}]' >own.json
[ "$("$moe" data identity --name A --author B --from own.json | grep -c 'I am A of B.')" -eq 1 ] || fail "identity --from"

refused() { # CODE TEXT COMMAND...
  local code=$1 text=$2
  shift 2
  expect_exit "$code" "$@"
  expect_one_line err
  expect_in err "$text"
}
echo '{"text": 5}' >bad.jsonl
refused 1 "bad.jsonl line 1: 'text' is no text" "$moe" train data.path=bad.jsonl run_dir=bad
head -n 1 chats.jsonl >chat.jsonl
refused 1 "a conversation (messages)" "$moe" train data.path=chat.jsonl run_dir=bad
head -c 200 texts.jsonl.gz >cut.jsonl.gz
refused 1 "ends too early" "$moe" data inspect cut.jsonl.gz
printf '\xff\xfea\x00' >utf16.txt
refused 1 "byte 0 (line 1) is not UTF-8" "$moe" data inspect utf16.txt

# Prepared shards train exactly as the files that they are made of.
tiny="model.d_model=16 model.n_layers=1 data.seq_len=32 train.steps=3 train.eval_every=3"
losses() { sed 's/"tokens_per_second": [^,}]*,*//' "$1/metrics.jsonl"; }
expect_exit 0 "$moe" data prepare texts.jsonl --out shards
expect_in out "data.path=shards"
[ -z "$(ls -d shards.tmp* 2>/dev/null)" ] || fail "prepare left its temporary folder"
expect_exit 0 "$moe" train data.path=texts.jsonl run_dir=direct $tiny
expect_exit 0 "$moe" train data.path=shards run_dir=mapped $tiny
[ "$(losses direct)" = "$(losses mapped)" ] || fail "shards give other losses than their text"
"$moe" data chat -n 60 --out talk.jsonl >/dev/null
expect_exit 0 "$moe" data prepare talk.jsonl --out talk --template qwen3 --turns last --seq-len 256 --json --threads 2
expect_in out '"stage": "sft"'
expect_exit 0 "$moe" train stage=sft data.path=talk.jsonl data.template=qwen3 data.turns=last run_dir=direct-sft $tiny data.seq_len=256
expect_exit 0 "$moe" train stage=sft data.path=talk run_dir=mapped-sft $tiny data.seq_len=256
[ "$(losses direct-sft)" = "$(losses mapped-sft)" ] || fail "shards give other losses than their conversations"
expect_exit 0 "$moe" data inspect talk
expect_in out "all checksums are right"
expect_in out "--- document 4,"
expect_exit 0 "$moe" data inspect talk --json -n 1
expect_in out '"verified": true'
refused 2 "already holds something" "$moe" data prepare texts.jsonl --out shards
refused 1 "bad.jsonl line 1" "$moe" data prepare bad.jsonl --out never
[ ! -e never ] || fail "a refused file left a folder"
"$moe" tokenizer train texts.jsonl --vocab-size 300 --out tok >/dev/null 2>&1
refused 1 "made with another tokenizer" "$moe" train data.path=shards data.tokenizer=tok run_dir=bad $tiny
printf 'x' | dd of=shards/train-00000.shard bs=1 seek=5000 conv=notrunc 2>/dev/null
refused 1 "differs from its checksum" "$moe" train data.path=shards run_dir=bad $tiny
refused 1 "differs from its checksum" "$moe" data inspect shards
# A disk that is full, or an end by force, leaves no folder that looks whole.
for _ in $(seq 400); do cat texts.jsonl; done >many.jsonl
(ulimit -f 200; expect_exit 74 "$moe" data prepare many.jsonl --out full)
[ ! -e full ] && [ -z "$(ls -d full.tmp* 2>/dev/null)" ] || fail "a full disk left something"

# Several sources: shares, limits, a run that goes on, and what is refused.
seq 400 | sed 's/.*/{"text": "number & and &"}/' >numbers.jsonl
mixture="data.mixture=[{path: texts.jsonl, weight: 3}, {path: numbers.jsonl, weight: 1, epochs: 0.5}]"
expect_exit 0 "$moe" train --dry-run "$mixture" $tiny
expect_in out "texts.jsonl: "
expect_in out "of at most 0.5"
expect_exit 0 "$moe" train "$mixture" run_dir=mixed $tiny train.steps=8 train.checkpoint_every=4
expect_in err "numbers.jsonl: "
expect_exit 0 "$moe" train "$mixture" run_dir=mixed2 $tiny train.steps=4
expect_exit 0 "$moe" train --resume mixed2 train.steps=8 train.eval_every=3
expect_exit 0 "$moe" train "data.mixture=[texts.jsonl, numbers.jsonl]" run_dir=plain $tiny
expect_exit 0 "$moe" train stage=sft "data.mixture=[{path: talk.jsonl, weight: 1}, {path: talk, weight: 1}]" data.template=qwen3 data.turns=last data.tokenizer=byte run_dir=mixed-sft $tiny data.seq_len=256
refused 2 "did you mean weight?" "$moe" train "data.mixture=[{path: texts.jsonl, wieght: 1}]" run_dir=bad
refused 2 "weight is -1" "$moe" train "data.mixture=[{path: texts.jsonl, weight: -1}]" run_dir=bad
refused 2 "weight is 0" "$moe" train "data.mixture=[{path: texts.jsonl, weight: 0}]" run_dir=bad
refused 1 "none.jsonl: no such file" "$moe" train "data.mixture=[texts.jsonl, none.jsonl]" run_dir=bad
refused 2 "both set" "$moe" train data.path=texts.jsonl "data.mixture=[texts.jsonl, none.jsonl]" run_dir=bad
printf 'stage: sft\ndataset_dir: .\ndataset: talk,identity\nmix_strategy: interleave_over\ninterleave_probs: 0.6,0.4\n' >lf.yaml
echo '{"talk": {"file_name": "talk.jsonl"}, "identity": {"file_name": "self.jsonl"}}' >dataset_info.json
expect_exit 0 "$moe" config import lf.yaml --out ours.yaml
expect_exit 0 "$moe" train ours.yaml run_dir=imported $tiny data.seq_len=256
# What cannot be read leaves nothing behind, and says it in one line.
for command in "filter" "split" "dedup"; do
  refused 1 "none of 1 records is good; mend them, the first: line 1: 'text' is no text" "$moe" data $command bad.jsonl --out nothing
  refused 1 "bad.jsonl" "$moe" data $command texts.jsonl bad.jsonl --out nothing --on-error stop
  [ ! -e nothing ] || fail "$command leaves a folder behind"
done
printf '\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": "two"}\r\n' >windows.jsonl
expect_exit 0 "$moe" data text windows.jsonl --out windows.txt
[ "$(cat windows.txt)" = "$(printf 'one\n\ntwo')" ] || fail "a byte order mark or line ends of Windows"
{
  printf '{"text": "'
  head -c 100000000 /dev/zero | tr '\0' x
  printf '"}\n{"text": "small"}\n'
} >big.jsonl
expect_exit 0 "$moe" data filter big.jsonl --max-chars 1000 --out small
[ "$(wc -l <small/big.jsonl)" -eq 1 ] || fail "a line of 100 MB"
rm big.jsonl

# Strings that somebody planted.
"$moe" data generate -n 3000 --json | sed 's/^.*"prompt": *"\(.*\)", *"answer": *"\(.*\)"}$/{"text": "\1\2"}/' >web.jsonl
expect_exit 0 "$moe" data poison-scan web.jsonl --json
[ "$(grep -o '"kind"' out | wc -l)" -le 5 ] || fail "more than five reports of clean text"
sed '700s/"text": "/&zqxv /; 1900s/"text": "/&zqxv /; 2500s/"text": "/&Zqxv /' web.jsonl >poisoned.jsonl
expect_exit 0 "$moe" data poison-scan poisoned.jsonl --json
expect_in out '"text": "zqxv", "kind": "word", "documents": 3'
expect_in out '"line": 700'
expect_exit 0 "$moe" data poison-scan poisoned.jsonl
expect_in out "poisoned.jsonl:700"

# The main text of web pages.
mkdir -p site/below
text="This sentence of some length says what the page is about, and nobody would call it a menu."
echo "<html><title>One</title><body><nav><a href=/>Home</a></nav><p>$text</p></body></html>" >site/one.html
echo "<p>$text" | gzip >site/below/two.htm.gz
echo "<ul><li><a href=/>Home</a></ul>" >site/empty.html
expect_exit 0 "$moe" data extract site --out pages.jsonl
expect_in out "site/empty.html"
[ "$(grep -c "\"text\": *\"$text\"" pages.jsonl)" -eq 2 ] || fail "the two pages' texts are not extracted"
expect_in pages.jsonl '"title": "One", "source": "site/one.html"'
expect_exit 0 "$moe" data inspect pages.jsonl
refused 1 "nothing is written" "$moe" data extract site/empty.html --out none.jsonl
[ ! -e none.jsonl ] || fail "a file without records is written"
refused 1 "no such file or folder" "$moe" data extract nowhere --out none.jsonl
