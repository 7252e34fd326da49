#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hugging Face `tokenizers` on the work of bench/tokenizer.cpp.

usage: hf_tokenizers.py encode TOKENIZER FILE THREADS SECONDS
       hf_tokenizers.py train FILE VOCAB_SIZE THREADS
"""
import json
import os
import sys
import time


def encode(path, file, threads, seconds):
    os.environ["RAYON_NUM_THREADS"] = threads
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if int(threads) > 1 else "false"
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(path)
    text = open(file, encoding="utf-8", newline="").read()
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    times = []
    begin = time.perf_counter()
    while len(times) < 4 or time.perf_counter() - begin < float(seconds):
        start = time.perf_counter()
        result = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
        times.append(time.perf_counter() - start)
    n, total = 0, 0
    for encoding in result:
        for i in encoding.ids:
            n += 1
            total += i * n
    rest = sorted(times[1:])
    size = len(text.encode())
    median = rest[len(rest) // 2]
    return {"seconds": median, "bytes": size, "ids": n, "sum": total % 2**64, "megabytes_per_second": size / median / 1e6}


def train(file, vocab_size, threads):
    os.environ["RAYON_NUM_THREADS"] = threads
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if int(threads) > 1 else "false"
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=int(vocab_size), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<|endoftext|>"], show_progress=False)
    start = time.perf_counter()
    tokenizer.train([file], trainer)
    return {"seconds": time.perf_counter() - start, "merges": json.loads(tokenizer.to_str())["model"]["merges"]}


if __name__ == "__main__":
    print(json.dumps({"encode": encode, "train": train}[sys.argv[1]](*sys.argv[2:])))
