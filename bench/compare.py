#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""moe and PyTorch on the same work, turn by turn in one run, so that a noisy machine disturbs both: ratios with spread.

Each round starts both programs once, in turns who is first; a figure is the median over the rounds, the spread its
smallest and largest. `./run bench` calls this (it makes the environment with torch 2.13.0 first).

usage: compare.py --moe PROGRAM --python PYTHON [--rounds N] [--cases NAME,...] [--threads N] [--update | --check]
  --update   write bench/baseline.json and the table of docs/PERFORMANCE.md
  --check    compare with bench/baseline.json: exit 1 when a ratio, or a phase of the step, lost more than 10 %
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench" / "baseline.json"
REPORT = ROOT / "docs" / "PERFORMANCE.md"
BEGIN, END = "<!-- begin: ./run bench --update -->", "<!-- end -->"

# name: (what, shape, batch, steps, flags of the peer)
CASES = {
    "train mixtral batch 16": ("train", "mixtral", 16, 3, [[]]),
    "train fine batch 16": ("train", "fine", 16, 3, [[]]),
    "train mixtral batch 1": ("train", "mixtral", 1, 12, [[]]),
    "train fine batch 1": ("train", "fine", 1, 12, [[]]),
    "train nanogpt batch 16": ("train", "nanogpt", 16, 3, [[], ["--compile"]]),
    "decode mixtral": ("decode", "mixtral", 1, 0, [[]]),
    "decode fine": ("decode", "fine", 1, 0, [[]]),
}
LOSS = 0.10  # of a ratio or a phase, that --check reports


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if result.returncode != 0:
        sys.exit(f"compare: {' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def ours(args, what, shape, batch, steps):
    command = [args.moe, "bench", what, "--shape", shape, "--batch", str(batch), "--threads", str(args.threads), "--json"]
    if steps:
        command += ["--steps", str(steps)]
    # The peak of resident memory, of the process itself as for the peer.
    r = run(["/usr/bin/env", "python3", "-c", PEAK, *command])
    return r


PEAK = """
import json, resource, subprocess, sys
r = subprocess.run(sys.argv[1:], capture_output=True, text=True)
sys.stderr.write(r.stderr)
if r.returncode: sys.exit(r.returncode)
o = json.loads(r.stdout)
o['resident_peak_bytes'] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps(o))
"""


def peer(args, what, shape, batch, steps, flags):
    command = [args.python, "bench/peers/torch_moe.py", what, "--shape", shape, "--batch", str(batch), "--threads", str(args.threads)]
    if steps:
        command += ["--steps", str(steps)]
    return run(command + flags)


def measure(args, name):
    what, shape, batch, steps, variants = CASES[name]
    mine, theirs = [], [[] for _ in variants]
    for i in range(args.rounds):
        turns = [lambda: mine.append(ours(args, what, shape, batch, steps))]
        for v, flags in enumerate(variants):
            turns.append(lambda v=v, flags=flags: theirs[v].append(peer(args, what, shape, batch, steps, flags)))
        for turn in turns if i % 2 == 0 else reversed(turns):
            turn()
        print(f"  {name}: round {i + 1} of {args.rounds}", file=sys.stderr, flush=True)
    best = max(theirs, key=lambda rounds: statistics.median(r["tokens_per_second"] for r in rounds))
    ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(mine, best)]
    shares = [r.get("share_of_peak", r.get("share_of_bandwidth", 0)) for r in mine]
    middle = sorted(mine, key=lambda r: r["tokens_per_second"])[len(mine) // 2]
    return {
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        "tokens_per_second": statistics.median(r["tokens_per_second"] for r in mine),
        "peer_tokens_per_second": statistics.median(r["tokens_per_second"] for r in best),
        "peer": "torch.compile" if best is not theirs[0] else "eager",
        "share": statistics.median(shares), "share_min": min(shares), "share_max": max(shares),
        "share_of": "peak" if "share_of_peak" in middle else "bandwidth",
        # Seconds at the machine's peak: comparable between runs of one kind of machine.
        "phases": {k: v["seconds"] * middle.get("peak_gflop_per_second", 1) for k, v in middle["phases"].items()},
        "phase_shares": {k: v["share"] for k, v in middle["phases"].items()},
        "kernels": middle["kernels"], "parameters": middle["parameters"],
        "bytes": statistics.median(r["resident_peak_bytes"] for r in mine),
        "peer_bytes": statistics.median(r["peak_bytes"] for r in best), "torch": best[0]["torch"],
    }


def row(name, r):
    extra = 16 * r["parameters"]
    memory = (r["bytes"] - extra) / (r["peer_bytes"] - extra) if "train" in name and "batch 16" in name else None
    return (f"| {name} | {r['tokens_per_second']:,.0f} | {r['peer_tokens_per_second']:,.0f} ({r['peer']}) "
            f"| {r['ratio']:.2f} ({r['ratio_min']:.2f} to {r['ratio_max']:.2f}) "
            f"| {100 * r['share']:.0f} % of {r['share_of']} ({100 * r['share_min']:.0f} to {100 * r['share_max']:.0f}) "
            f"| {f'{memory:.2f}' if memory is not None else ''} |")


def table(results):
    lines = ["| work | moe, tokens/s | PyTorch, tokens/s | ratio (min to max) | moe's share | memory beyond 16 bytes a parameter, ratio |",
             "|---|---|---|---|---|---|"]
    return "\n".join(lines + [row(name, r) for name, r in results.items()])


def machine():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return f"{line.split(':')[1].strip()}, {os.cpu_count()} CPUs"
    return f"{platform.machine()}, {os.cpu_count()} CPUs"


def update(args, results):
    old = json.loads(BASELINE.read_text())["results"] if BASELINE.exists() else {}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    old.update(results)
    about = {"machine": machine(), "threads": args.threads, "rounds": args.rounds, "commit": commit,
             "date": datetime.date.today().isoformat()}
    BASELINE.write_text(json.dumps({"about": about, "results": old}, indent=1) + "\n")
    text = REPORT.read_text()
    head, rest = text.split(BEGIN)
    shares = "\n".join(
        f"- {name}: " + ", ".join(f"{k} {100 * v:.1f} %" for k, v in sorted(r["phase_shares"].items(), key=lambda kv: -kv[1]) if v >= 0.01)
        for name, r in old.items())
    any_result = next(iter(old.values()))
    REPORT.write_text(
        f"{head}{BEGIN}\n{about['date']}, {about['machine']} ({any_result['kernels']}), {args.threads} threads, commit {commit}, torch "
        f"{any_result['torch']}; medians of {args.rounds} rounds, `./run bench --update`.\n\n{table(old)}\n\n"
        f"Where the time of a step goes (shares of at least 1 %):\n\n{shares}\n{END}{rest.split(END)[1]}")


def check(results):
    baseline = json.loads(BASELINE.read_text())
    lost = []
    for name, r in results.items():
        was = baseline["results"].get(name)
        if was is None:
            continue
        if r["ratio"] < was["ratio"] * (1 - LOSS):
            lost.append(f"{name}: ratio {was['ratio']:.2f} -> {r['ratio']:.2f}")
        if was["kernels"] != r["kernels"]:
            continue  # phases of another instruction set do not compare
        for phase, seconds in r["phases"].items():
            before = was["phases"].get(phase)
            if before and r["phase_shares"][phase] >= 0.02 and seconds > before * (1 + LOSS):
                lost.append(f"{name}: phase {phase} takes {seconds / before:.2f}x of what it took")
    for line in lost:
        print("lost: " + line)
    if not lost:
        print(f"no ratio and no phase lost more than {100 * LOSS:.0f} %")
    return 1 if lost else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moe", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    names = [n for n in CASES if not args.cases or any(c in n for c in args.cases.split(","))]
    if not names:
        sys.exit(f"compare: no case matches '{args.cases}'; there are: {'; '.join(CASES)}")
    results = {}
    for name in names:
        results[name] = measure(args, name)
    print(table(results))
    if args.update:
        update(args, results)
    sys.exit(check(results) if args.check else 0)


if __name__ == "__main__":
    main()
