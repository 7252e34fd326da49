#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""moe and Hugging Face `tokenizers` on the same lines, turn by turn in one run: encoding with 1 and 2 threads (both warm,
equal ids), and training.

usage: tokenizer.py --moe PROGRAM --bench PROGRAM --python PYTHON [--rounds N] [--text FILE]... [--tokenizer FILE]...
Without --text the built-in corpus, without --tokenizer one trained on it. Ratios are theirs over ours, medians with
their smallest and largest.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "hf_tokenizers.py")


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit("tokenizer: %s failed:\n%s" % (" ".join(map(str, command)), done.stderr[-2000:]))
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--moe", "--bench", "--python"):
        parser.add_argument(name, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--text", action="append", default=[])
    parser.add_argument("--tokenizer", action="append", default=[])
    parser.add_argument("--vocab-size", type=int, default=8192, help="of the training")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        if not args.text:
            with open(at("demo.txt"), "w") as f:
                f.write(run(args.moe, "data", "generate", "-n", 20000, "--seed", 1))
            args.text = [at("demo.txt")]
        if not args.tokenizer:
            run(args.moe, "tokenizer", "train", args.text[0], "--vocab-size", 4096, "--out", at("trained.json"))
            args.tokenizer = [at("trained.json")]
        print("%-34s %-24s %7s %10s %10s  %s" % ("encode: tokenizer", "text", "threads", "ours MB/s", "peer MB/s", "ratio"))
        for t, tokenizer in enumerate(args.tokenizer):
            converted = at("t%d.json" % t)
            run(args.moe, "tokenizer", "convert", "--tokenizer", tokenizer, "--out", converted)
            for text in args.text:
                for threads in (1, 2):
                    ours, peer = [], []
                    for turn in range(args.rounds):
                        both = [(ours, [args.bench]), (peer, [args.python, PEER])]
                        for results, program in both if turn % 2 == 0 else both[::-1]:
                            results.append(json.loads(run(*program, "encode", converted, text, threads, args.seconds)))
                    assert ours[0]["sum"] == peer[0]["sum"] and ours[0]["ids"] == peer[0]["ids"], "the ids differ"
                    ratios = [p["seconds"] / o["seconds"] for o, p in zip(ours, peer)]
                    print("%-34s %-24s %7d %10.1f %10.1f  %.1f (%.1f to %.1f)" % (
                        os.path.basename(tokenizer), os.path.basename(text), threads,
                        statistics.median(r["megabytes_per_second"] for r in ours),
                        statistics.median(r["megabytes_per_second"] for r in peer),
                        statistics.median(ratios), min(ratios), max(ratios)), flush=True)
        print("\n%-34s %-24s %7s %10s %10s  %s" % ("train %d ids" % args.vocab_size, "text", "threads", "ours s", "peer s", "ratio"))
        for text in args.text:
            for threads in (1, 2):
                ours, peer = [], []
                for turn in range(args.rounds):
                    ours.append(json.loads(run(args.moe, "tokenizer", "train", text, "--vocab-size", args.vocab_size, "--by-line", "--threads",
                                               threads, "--out", at("ours.json"), "--json"))["seconds"])
                    result = json.loads(run(args.python, PEER, "train", text, args.vocab_size, threads))
                    peer.append(result["seconds"])
                    with open(at("ours.json")) as f:
                        assert json.load(f)["model"]["merges"] == result["merges"], "the merges differ"
                ratios = [p / o for o, p in zip(ours, peer)]
                print("%-34s %-24s %7d %10.3f %10.3f  %.1f (%.1f to %.1f)" % (
                    "", os.path.basename(text), threads, statistics.median(ours), statistics.median(peer),
                    statistics.median(ratios), min(ratios), max(ratios)), flush=True)


if __name__ == "__main__":
    main()
