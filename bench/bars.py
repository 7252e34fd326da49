#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bars of docs/PERFORMANCE.md that need no peer: shares of the machine's limits, how they change with the batch, the
length and the number of experts, the start-up, and a run beside a process that hogs a CPU.

usage: bars.py --moe PROGRAM [--only NAME,...] [--rounds N] [--threads N] [--json]
Each bar prints its line when it is measured; exit 1 when one is missed.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BIG = ["model.n_layers=20", "model.d_model=1024", "model.n_heads=16", "model.n_kv_heads=16", "model.moe.d_ff=4096"]
MANY = ["model.moe.n_experts=128", "model.moe.top_k=32", "model.moe.d_ff=64"]  # the weights of 8 experts of 1,024
WIDE = ["model.moe.n_experts=128"]
SIXTY_MILLION = ["model.n_layers=8", "model.d_model=512", "model.n_heads=8", "model.n_kv_heads=8",
                 "model.moe.n_experts=8", "model.moe.d_ff=512", "data.tokenizer=byte", "train.steps=1",
                 "train.batch_size=1", "train.eval_every=0"]
PRODUCTS = ("gemm", "attention", "kv_store")  # the last lays keys and values out for attention


def bench(args, what, *arguments):
    command = [args.moe, "bench", what, *map(str, arguments), "--threads", str(args.threads), "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"bars: {' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout)


def rounds(args, measure):
    """The median of what `measure` returns, with its spread."""
    values = [measure() for _ in range(args.rounds)]
    return statistics.median(values), min(values), max(values)


def share(args, *arguments):
    return rounds(args, lambda: bench(args, "train", *arguments)["share_of_peak"])


def train_share(shape, isa=None):
    def measure(args):
        return share(args, "--shape", shape, "--batch", 16, "--steps", 3, *(["--isa", isa] if isa else []))
    return measure


def decode_share(*arguments):
    return lambda args: rounds(args, lambda: bench(args, "decode", *arguments)["share_of_bandwidth"])


def many_experts(args):
    """Forward and backward of 128 experts of f/16, top 32, over that of 8 experts of f, top 2."""
    def once():
        few = bench(args, "train", "--shape", "mixtral", "--steps", 2)
        many = bench(args, "train", "--shape", "mixtral", "--steps", 2, *MANY)
        return (many["seconds"] - many["optimizer_seconds"]) / (few["seconds"] - few["optimizer_seconds"])
    return rounds(args, once)


def wide_experts(args):
    """Forward and backward of 128 experts of f, top 2, over the larger of two floors: its multiply-adds at the peak, and
    every weight read twice and its gradient written once at the bandwidth of a plain read."""
    def once():
        r = bench(args, "train", "--shape", "mixtral", "--steps", 2, *WIDE)
        compute = r["gflop_per_second"] * r["seconds"] / r["peak_gflop_per_second"]
        bandwidth = bench(args, "decode", "--shape", "mixtral")["bandwidth_gigabytes_per_second"]
        bytes_floor = 3 * 4e-9 * r["parameters"] / bandwidth
        print(f"    floors: multiply-adds {compute:.3f} s, bytes {bytes_floor:.3f} s; step {r['seconds']:.3f} s, of it optimiser "
              f"{r['optimizer_seconds']:.3f} s", file=sys.stderr)
        return (r["seconds"] - r["optimizer_seconds"]) / max(compute, bytes_floor)
    return rounds(args, once)


def share_falls(*variants):
    """By how much the share of the peak falls from the first variant to the last, as a part of the first."""
    def measure(args):
        def once():
            shares = [bench(args, "train", "--shape", "mixtral", "--steps", 2, *v)["share_of_peak"] for v in variants]
            print("    shares " + ", ".join(f"{100 * s:.1f} %" for s in shares), file=sys.stderr)
            return 1 - min(shares) / shares[0]
        return rounds(args, once)
    return measure


def not_products(shape):
    """The part of a step that is neither a matrix product nor attention."""
    def measure(args):
        def once():
            phases = bench(args, "train", "--shape", shape, "--batch", 16, "--steps", 3)["phases"]
            return 1 - sum(p["share"] for name, p in phases.items() if any(word in name for word in PRODUCTS))
        return rounds(args, once)
    return measure


def memory(args):
    """The largest resident set of a training step over what `moe bench` predicts."""
    def once():
        command = ["/usr/bin/env", "python3", "-c", "import resource, subprocess, sys\n"
                   "r = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
                   "print(r.stdout); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)",
                   args.moe, "bench", "train", "--shape", "mixtral", "--steps", "1", "--threads", str(args.threads), "--json"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
        return abs(int(lines[2]) / json.loads(lines[0])["predicted_bytes"] - 1)
    return rounds(args, once)


def startup(args):
    """Process start to the first generated token: 60 million parameters, files in the page cache."""
    folder = tempfile.mkdtemp()
    try:
        run = os.path.join(folder, "run")
        subprocess.run([args.moe, "train", f"run_dir={run}", *SIXTY_MILLION], check=True, capture_output=True)
        command = [args.moe, "generate", run, "-p", "a", "-n", "1", "--temp", "0", "--threads", str(args.threads)]
        subprocess.run(command, check=True, capture_output=True)

        def once():
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            process.stdout.read(1)
            seconds = time.perf_counter() - start
            process.communicate()
            return seconds
        return rounds(args, once)
    finally:
        shutil.rmtree(folder)


def hogged(args):
    """A step beside a busy loop, over what the CPU that is left would take: with n CPUs the loop's fair share is half of one."""
    def once():
        alone = bench(args, "train", "--shape", "mixtral", "--batch", 4, "--steps", 6)["seconds"]
        hog = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", "while True: pass"])
        try:
            beside = bench(args, "train", "--shape", "mixtral", "--batch", 4, "--steps", 6)["seconds"]
        finally:
            hog.kill()
        left = (args.threads - 0.5) / args.threads
        return beside / alone * left
    return rounds(args, once)


def kernels(args):
    return bench(args, "train", "--shape", "mixtral", "--batch", 1, "--steps", 1)["kernels"]


# name: (what, comparison, bar, measurement)
def bars(wide):
    peak = 0.75 if wide else 0.85
    table = {
        "train-mixtral": ("share of peak, step of mixtral, batch 16", ">=", peak, train_share("mixtral")),
        "train-fine": ("share of peak, step of fine, batch 16", ">=", peak, train_share("fine")),
    }
    if wide:
        table |= {
            "train-mixtral-avx2": ("the same, AVX2 kernels, mixtral", ">=", 0.85, train_share("mixtral", "cpu-avx2")),
            "train-fine-avx2": ("the same, AVX2 kernels, fine", ">=", 0.85, train_share("fine", "cpu-avx2")),
        }
    return table | {
        "decode-mixtral": ("share of bandwidth, decode of mixtral", ">=", 0.9, decode_share("--shape", "mixtral")),
        "decode-fine": ("share of bandwidth, decode of fine", ">=", 0.9, decode_share("--shape", "fine")),
        "decode-big": ("the same, more than 2 GiB of active weights", ">=", 0.9, decode_share("--shape", "mixtral", "--tokens", 60, *BIG)),
        "many-experts": ("128 experts of f/16, top 32, over 8 of f, top 2", "<=", 1.1, many_experts),
        "wide-experts": ("128 experts of f, top 2, over the floor", "<=", 1.2, wide_experts),
        "batch": ("fall of the share, batch 4 to 64", "<", 0.1, share_falls(["--batch", 4], ["--batch", 16], ["--batch", 64])),
        "length": ("fall of the share, length 256 to 4,096", "<", 0.1, share_falls(
            *(["--batch", 4096 // s, f"data.seq_len={s}", "model.max_seq_len=4096"] for s in (256, 1024, 4096)))),
        "rest-mixtral": ("neither product nor attention, mixtral", "<=", 0.1, not_products("mixtral")),
        "rest-fine": ("neither product nor attention, fine", "<=", 0.1, not_products("fine")),
        "memory": ("resident memory off the prediction", "<=", 0.1, memory),
        "startup": ("seconds to the first token, 60 M parameters", "<=", 0.2, startup),
        "hog": ("step beside a busy loop over the CPU left", "<=", 1.15, hogged),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moe", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.moe = str(pathlib.Path(args.moe).resolve())
    isa = kernels(args)
    table = bars("avx512" in isa)
    only = [w for w in args.only.split(",") if w]
    unknown = [w for w in only if not any(w in name for name in table)]
    if unknown:
        sys.exit(f"bars: no bar matches '{unknown[0]}'; there are: {', '.join(table)}")
    print(f"{isa}, {args.threads} threads, medians of {args.rounds}\n\n| what | bar | measured (min to max) | |\n|---|---|---|---|")
    missed, results = 0, {}
    for name, (what, sign, bar, measure) in table.items():
        if only and not any(w in name for w in only):
            continue
        value, low, high = measure(args)
        met = value >= bar if sign == ">=" else value <= bar
        missed += not met
        results[name] = {"bar": bar, "value": value, "min": low, "max": high, "met": met}
        print(f"| {what} | {sign} {bar} | {value:.3f} ({low:.3f} to {high:.3f}) | {'met' if met else 'missed'} |", flush=True)
    if args.json:
        print(json.dumps(results))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
