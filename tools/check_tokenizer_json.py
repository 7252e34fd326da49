#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares a tokenizer.json of moe.cpp with Hugging Face `tokenizers` (made with 0.23.3).

  check_tokenizer_json.py FILE...   each file: the library's ids of many texts are the ones the file's kind defines,
                                    decoding gives the text back, and a file saved by the library is the same document
  check_tokenizer_json.py --write   writes tests/golden/tokenizers/ids.json: the library's ids for byte.json and
                                    char.json there, which the C++ tests compare with
"""
import json
import os
import random
import sys

import tokenizers
from tokenizers import Tokenizer

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "tokenizers")
EOS = "<|endoftext|>"
TEXTS = ["", " ", "\n", "  \n\n  \t", "hello world", "It's 12 o'clock; don't!", "tab\tnew\r\nline", "\x00\x01\x1f\x7f\x80\x9f",
         "\u00a0\u00ad\u00a1\u0120\u010a", "漢字かな", "😀👩‍👩‍👧 🇩🇪", "é e\u0301", "\u2028\u2029\ufeff\ufffd", "x" * 1000, " " * 50,
         EOS, "a" + EOS + "b", EOS + EOS, "<|endoftext|", "<|endoftext|" + EOS, " " + EOS + " "]


def texts(alphabet):
    rng = random.Random(1)
    out = [t for t in TEXTS if set(t) <= set(alphabet)] if alphabet else list(TEXTS)
    for n in range(400):
        out.append("".join(rng.choice(alphabet) if alphabet else chr(rng.choice(
            [rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0xE000, 0x10000), rng.randrange(0x10000, 0x110000)]))
            for _ in range(n % 40)))
    return out


def defined_ids(kind, vocab, text):
    if kind == "char":
        return [vocab[c] for c in text]
    ids = []
    for i, part in enumerate(text.split(EOS)):
        ids += ([256] if i else []) + list(part.encode())
    return ids


def check(path):
    with open(path, encoding="utf-8") as f:
        document = json.load(f)
    tokenizer = Tokenizer.from_file(path)
    vocab = document["model"]["vocab"]
    kind = "char" if document["model"]["type"] == "WordLevel" else "byte"
    assert json.loads(tokenizer.to_str()) == document, f"{path}: the library saves another document"
    assert tokenizer.get_vocab_size() == (len(vocab) if kind == "char" else 257)
    cases = texts(sorted(vocab) if kind == "char" else None)
    for text in cases:
        ids = tokenizer.encode(text).ids
        assert ids == defined_ids(kind, vocab, text), f"{path}: {text!r} -> {ids}"
        assert tokenizer.decode(ids, skip_special_tokens=False) == text, f"{path}: {text!r} does not come back"
    if kind == "char":
        unknown = next(chr(c) for c in range(0x21, 0x110000) if chr(c) not in vocab)
        try:
            tokenizer.encode(unknown)
            raise AssertionError(f"{path}: the unknown character {unknown!r} was accepted")
        except Exception as error:
            assert "UNK" in str(error), error
    print(f"{path}: {kind}, {len(cases)} texts, ids equal (tokenizers {tokenizers.__version__})")


def write_golden():
    out = {"made_with": f"tools/check_tokenizer_json.py --write, tokenizers {tokenizers.__version__}"}
    for kind in ["byte", "char"]:
        path = os.path.join(GOLDEN, kind + ".json")
        tokenizer = Tokenizer.from_file(path)
        vocab = tokenizer.get_vocab()
        out[kind] = []
        for text in texts(sorted(vocab) if kind == "char" else None)[:60]:
            if "x" * 1000 == text:
                continue
            ids = tokenizer.encode(text).ids
            out[kind].append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    with open(os.path.join(GOLDEN, "ids.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, indent=None, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write_golden()
    elif len(sys.argv) > 1:
        for name in sys.argv[1:]:
            check(name)
    else:
        sys.exit(__doc__)
