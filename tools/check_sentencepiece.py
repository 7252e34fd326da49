#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our reader of SentencePiece models against `sentencepiece` (0.2.3) itself.

  check_sentencepiece.py BINARY [--models N] [--seed S]
  check_sentencepiece.py BINARY --write tests/golden/sentencepiece

Two kinds of models, BPE and Unigram, with every type of piece (NORMAL, UNUSED, USER_DEFINED, BYTE): trained on a small
text and then edited, and made of random strings over a few letters, where ties and overlaps are common. Random strings
are encoded and decoded by both; it stops at the first difference. --write keeps some models and strings with the
library's answers for the tests.
"""
import argparse
import io
import json
import os
import random
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

from check_tokenizers import corpus, ours, random_string, run

UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
USERS = ["<sep>", "foo_bar", "\u2460", "ing", "\u4e2d\u6587"]
SPACES = ["\u2581\u2581", "\u2581\u2581\u2581"]


def trained(kind, normalizer, byte_fallback, users, share_unused, seed, **more):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=out, model_type={UNIGRAM: "unigram", BPE: "bpe"}[kind], vocab_size=260 + 256 * byte_fallback,
        normalization_rule_name=normalizer, byte_fallback=byte_fallback, user_defined_symbols=users, hard_vocab_limit=False,
        minloglevel=2, **more)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    rng = random.Random(seed)
    for piece in model.pieces:
        if piece.type == NORMAL and rng.random() < share_unused:
            piece.type = UNUSED
    return model


def made_up(kind, rng):
    """Random pieces over a few letters. One NORMAL piece at least: without any the library's scores are no numbers."""
    model = pb.ModelProto()
    add = lambda text, score, type: model.pieces.add(piece=text, score=score, type=type)
    for text, type in (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)):
        add(text, 0, type)
    if rng.random() < 0.5:
        model.trainer_spec.byte_fallback = True
        for b in range(256):
            add("<0x%02X>" % b, 0, BYTE)
    letters = ["\u2581"] + rng.sample(list("abcdefg\u00e9\u4e2d"), rng.randint(1, 4))
    texts = letters + ["".join(rng.choice(letters) for _ in range(n)) for n in range(2, 7) for _ in range(rng.randint(3, 14))]
    texts = list(dict.fromkeys(texts))
    rng.shuffle(texts)
    unused, user, ties = rng.choice([0, 0.1, 0.4, 0.8]), rng.choice([0, 0.1, 0.3]), rng.random() < 0.5
    for i, text in enumerate(texts):
        score = -rng.random() * 10 if kind == UNIGRAM else -float(rng.randint(0, 8) if ties else i)
        r = rng.random()
        type = UNUSED if r < unused and i > 0 else USER_DEFINED if r > 1 - user and len(text) > 1 and i > 0 else NORMAL
        add(text, score, type)
    model.trainer_spec.model_type = kind
    model.trainer_spec.vocab_size = len(model.pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = rng.random() < 0.5
    alphabet = [c.replace("\u2581", " ") for c in letters] + ["z"] * (rng.random() < 0.3)
    return model, lambda: "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 3, 8, 20, 60, 100, 200])))


def fixed():
    both = {"bpe": BPE, "unigram": UNIGRAM}
    for name, kind in both.items():
        yield name + "-nfkc-users", trained(kind, "nmt_nfkc", False, USERS, 0, 1)
        yield name + "-bytes-unused", trained(kind, "identity", True, SPACES, 0.3, 2, remove_extra_whitespaces=False)
        yield name + "-unused-users", trained(kind, "nmt_nfkc_cf", False, USERS, 0.5, 3, add_dummy_prefix=False)


def strings_of(rng, n):
    pick = lambda: rng.choice(USERS + [random_string(rng)] * 4)
    return ["".join(pick() for _ in range(rng.randint(1, 4))) for _ in range(n)]


def answers(model, strings):
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    for s in strings:
        ids = sp.encode(s)
        yield {"text": s, "ids": ids, "decoded": sp.decode(ids)}


def compare(binary, folder, name, model, strings):
    path = os.path.join(folder, "m.model")
    again = os.path.join(folder, "tokenizer.json")
    with open(path, "wb") as f:
        f.write(model.SerializeToString())
    run(binary, "convert", "--tokenizer", path, "--out", again, stdin="")
    cases = list(answers(model, strings))
    for file in (path, again):
        for case, ids in zip(cases, ours(binary, file, strings, False), strict=True):
            if ids != case["ids"]:
                sys.exit("%s, %s: %r\n  ours   %s\n  theirs %s" % (name, os.path.basename(file), case["text"], ids, case["ids"]))
    stdin = "".join(" ".join(map(str, case["ids"])) + "\n" for case in cases)
    for case, line in zip(cases, run(binary, "decode", "--tokenizer", path, "--lines", stdin=stdin), strict=True):
        text = json.loads(line)["text"]
        if text != case["decoded"] and "\u2047" not in case["decoded"]:  # theirs for the unknown, ours is "<unk>"
            sys.exit("%s, decode %s:\n  ours   %r\n  theirs %r" % (name, case["ids"], text, case["decoded"]))
    return len(strings)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write")
    args = parser.parse_args()
    if args.write:
        os.makedirs(args.write, exist_ok=True)
        # A map of characters is 240 kB: two of the four that have one are enough.
        models = [(name, model, strings_of(random.Random(7), 40)) for name, model in fixed()
                  if name not in ("bpe-unused-users", "unigram-nfkc-users")]
        for seed, kind in ((11, BPE), (12, BPE), (13, UNIGRAM)):
            model, string = made_up(kind, random.Random(seed))
            models.append(("letters-%d" % seed, model, [string() for _ in range(30)]))
        for name, model, strings in models:
            with open(os.path.join(args.write, name + ".model"), "wb") as f:
                f.write(model.SerializeToString())
            with open(os.path.join(args.write, name + ".cases.json"), "w", encoding="utf-8") as f:
                json.dump(list(answers(model, strings)), f, ensure_ascii=False, separators=(",", ":"))
        print("sentencepiece %s wrote %s" % (sentencepiece.__version__, args.write))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, model in fixed():
            n = compare(args.binary, folder, name, model, strings_of(random.Random(args.seed), 2000))
            print("%-22s %d strings equal" % (name, n), flush=True)
        total = 0
        for i in range(args.models):
            rng = random.Random(args.seed * 1000003 + i)
            model, string = made_up(rng.choice([BPE, UNIGRAM]), rng)
            total += compare(args.binary, folder, "model %d" % i, model, [string() for _ in range(60)])
        print("%d made-up models: %d strings equal" % (args.models, total))


if __name__ == "__main__":
    main()
