#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# moe tokenizer and moe template from outside: every way round gives the text back, bad input is one line, nothing is left
# half written.
. "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
moe=$MOE_BINARY

"$moe" data generate -n 400 --seed 3 >corpus.txt
for type in bpe wordpiece unigram char byte; do
  expect_exit 0 "$moe" tokenizer train corpus.txt --type $type --vocab-size 500 --out "tok-$type"
  [ -f "tok-$type/tokenizer.json" ] && [ -f "tok-$type/tokenizer_config.json" ] || fail "$type: files are missing"
  "$moe" tokenizer encode --tokenizer "tok-$type" --file corpus.txt --threads 1 >one
  "$moe" tokenizer encode --tokenizer "tok-$type" --file corpus.txt --threads 3 >three
  cmp one three || fail "$type: threads change ids"
  [ "$("$moe" tokenizer encode --tokenizer "tok-$type" --file corpus.txt --count)" -eq "$(wc -w <one)" ] || fail "$type: --count"
  "$moe" tokenizer convert --tokenizer "tok-$type" --out again.json >/dev/null
  cmp "tok-$type/tokenizer.json" again.json || fail "$type: converted it is another file"
done
for type in bpe char byte; do
  "$moe" tokenizer encode --tokenizer "tok-$type" --file corpus.txt --json >ids.json
  "$moe" tokenizer decode --tokenizer "tok-$type" --file ids.json >back.txt
  cmp corpus.txt back.txt || fail "$type: the text does not come back"
done
head -c 100000 /dev/urandom >noise
"$moe" tokenizer encode --tokenizer tok-bpe --file noise >ids
"$moe" tokenizer decode --tokenizer tok-bpe --file ids >back
cmp noise back || fail "random bytes do not come back"

# Training is the same for any number of threads; special tokens are parsed where that is asked for.
"$moe" tokenizer train corpus.txt --vocab-size 500 --threads 3 --out other >/dev/null
cmp tok-bpe/tokenizer.json other/tokenizer.json || fail "threads change the tokenizer"
[ "$("$moe" tokenizer encode --tokenizer tok-bpe '<|endoftext|>' --parse-special)" = 0 ] || fail "--parse-special"
[ "$("$moe" tokenizer encode --tokenizer tok-bpe '<|endoftext|>' | wc -w)" -gt 1 ] || fail "a person wrote a special token"
expect_exit 0 "$moe" tokenizer inspect --tokenizer tok-bpe --file corpus.txt --json
expect_in out '"bytes_per_token"'
expect_exit 0 "$moe" tokenizer compare tok-bpe tok-unigram --train corpus.txt --vocab-sizes 300 --types wordpiece
expect_in out "wordpiece 300"

# A model trained with it carries it.
expect_exit 0 "$moe" train data.path=corpus.txt data.tokenizer=tok-bpe run_dir=run train.steps=3 model.d_model=16 model.n_layers=1 data.seq_len=32
cmp run/checkpoints/ckpt-000003/tokenizer.json tok-bpe/tokenizer.json || fail "the checkpoint holds another tokenizer"
expect_exit 0 "$moe" generate run -p "hello" -n 3 --temp 0

# Bad input.
refused() { # CODE TEXT COMMAND...
  local code=$1 text=$2
  shift 2
  expect_exit "$code" "$@"
  expect_one_line err
  expect_in err "$text"
}
: >empty.txt
refused 1 "empty" "$moe" tokenizer train empty.txt --out bad
[ ! -e bad ] || fail "a refused training left something"
refused 1 "no such file" "$moe" tokenizer train missing.txt --out bad
refused 2 "did you mean unigram?" "$moe" tokenizer train corpus.txt --type unigrm --out bad
refused 1 "too small" "$moe" tokenizer train corpus.txt --vocab-size 9 --out bad
head -c 500 tok-bpe/tokenizer.json >cut.json
refused 1 "cut.json" "$moe" tokenizer encode --tokenizer cut.json hello
printf 'no tokenizer at all\n' >bad.txt
refused 1 "this is no tiktoken file" "$moe" tokenizer encode --tokenizer bad.txt hello
printf '\x0a\xff\xff\xff' >bad.model
refused 1 "damaged or no SentencePiece model" "$moe" tokenizer encode --tokenizer bad.model hello
refused 1 "is no token id" "$moe" tokenizer decode --tokenizer tok-bpe -- -5
refused 1 "is not one of" "$moe" tokenizer decode --tokenizer tok-bpe 99999

# Templates.
echo '{"messages": [{"role": "user", "content": "Hi"}], "bos_token": "<s>"}' >chat.json
[ "$("$moe" template render --template mistral-v1 --context chat.json)" = "<s> [INST] Hi [/INST]" ] || fail "render"
printf '{{ bos_token }}{%% for m in messages %%}\n{{ m.content }}{%% endfor %%}' >own.jinja
[ "$("$moe" template render --template own.jinja --context chat.json | od -c | head -n 1)" = "$(printf '<s>Hi' | od -c | head -n 1)" ] || fail "own template"
refused 1 "Did you mean qwen3?" "$moe" template render --template qwne3 --context chat.json
printf '{%% for i in range(99999) %%}{%% for j in range(99999) %%}{%% endfor %%}{%% endfor %%}' >endless.jinja
refused 1 "too many steps" "$moe" template render --template endless.jinja --context chat.json
printf 'a\n{{ oops' >broken.jinja
refused 1 "line 2: TemplateSyntaxError" "$moe" template render --template broken.jinja --context chat.json
