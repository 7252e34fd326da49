#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The comparisons of docs/ROUTERS.md: small models that differ in one thing, some seeds each, one table a study.

  bench/routers.py routers --data demo
  bench/routers.py routers aux experts shape layers --data FILE --seeds 3 --steps 600
  bench/routers.py dense --data demo                        # needs a quiet machine: equal time

Every run is recipes/tiny.yaml with eight experts and the changes that the table names. Finished runs are kept in --out and
not trained again.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
M = "model.moe."

# Two experts of width 64 a token, or what comes to the same number of active parameters.
ROUTERS = {
    "top_k": [], "sigmoid_bias": [], "group_limited": [M + "n_group=4", M + "topk_group=2"],
    "hierarchical": [M + "n_group=4", M + "topk_group=2"], "gshard": [], "noisy_top_k": [], "quantile": [], "cosine": [],
    "switch": [M + "d_ff=128", M + "n_experts=4"], "top_p": [M + "target_experts=2"], "relu": [],
    "longcat": [M + "n_identity_experts=4", M + "top_k=3"], "moe_pp": [M + "n_identity_experts=1"],
    "dense": [M + "d_ff=16"], "dense_raw": [M + "d_ff=16"], "hash": [], "hash_balanced": [], "random": [],
}
STUDIES = {
    "routers": {name: [M + "router=" + name, *changes] for name, changes in ROUTERS.items()},
    "aux": {f"aux_loss_weight={w}": [f"{M}aux_loss_weight={w}"] for w in (0, 0.001, 0.01, 0.1)},
    "experts": {**{f"{e} experts, top {k}": [f"{M}n_experts={e}", f"{M}top_k={k}"] for e in (4, 8, 16, 32) for k in (1, 2, 4)},
                "8 experts, top_p, 2 on average": [M + "router=top_p", M + "target_experts=2"]},
    "shape": {f"{e} experts of {512 // e}, top {e // 4}": [f"{M}n_experts={e}", f"{M}d_ff={512 // e}", f"{M}top_k={e // 4}",
                                                          *([M + "norm_topk_prob=false"] if e == 4 else [])]
              for e in (4, 8, 16, 32)},
    "layers": {name: ["model.n_layers=4", M + "layers=" + layers]
               for name, layers in (("all", "all"), ("deep", "2-3"), ("sparse", "every:2"))},
}


def train(args, folder, changes):
    """The last line of metrics.jsonl, and tokens per second over the run."""
    log = folder / "metrics.jsonl"
    if not (folder / "checkpoints").is_dir():
        command = [args.moe, "train", str(ROOT / "recipes/tiny.yaml"), f"run_dir={folder}", f"data.path={args.data}",
                   f"train.threads={args.threads}", "train.checkpoint_every=0", "train.keep=1", M + "n_experts=8", *changes]
        if args.data != "demo":
            command.append("data.tokenizer=char")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    last = lines[-1]
    tail = lines[-100:]
    mean = lambda key: statistics.mean(line.get(key, 0) for line in tail)
    return {"val": last["val_loss"], "speed": statistics.median(line["tokens_per_second"] for line in lines[5:]),
            "balance": mean("load_entropy"), "violation": mean("max_violation"), "drop": mean("drop_rate"), "dead": mean("dead_experts")}


def fixed(args, name, variants):
    print(f"\n{name}, {args.data}, {args.steps} steps, {args.seeds} seeds\n\n| | validation loss | spread | load entropy | largest "
          "violation | dead | dropped | tokens/s |\n|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for label, changes in variants.items():
        runs = [train(args, pathlib.Path(args.out) / name / label.replace(" ", "_").replace(",", "") / f"seed-{s}",
                      [*changes, f"train.seed={s}", f"train.steps={args.steps}", f"train.eval_every={args.steps}",
                       "train.eval_windows=0"]) for s in range(1, args.seeds + 1)]
        m = {k: statistics.mean(r[k] for r in runs) for k in runs[0]}
        losses = [r["val"] for r in runs]
        rows.append((m["val"], f"| {label} | {m['val']:.4f} | {max(losses) - min(losses):.4f} | {m['balance']:.3f} | "
                     f"{m['violation']:.2f} | {m['dead']:.1f} | {100 * m['drop']:.1f} % | {m['speed']:,.0f} |"))
    for _, row in sorted(rows):
        print(row, flush=True)


def dense(args):
    """Dense against eight experts of which two are taken, each at its best learning rate of three."""
    print(f"\ndense, {args.data}, {args.seeds} seeds, dense for {args.steps} steps\n\n| width | model | active | best rate | loss at equal "
          "steps | loss at equal time | ms a step |\n|---|---|---|---|---|---|---|", flush=True)
    for width, heads in ((32, 1), (64, 2), (128, 4)):
        size = [f"model.d_model={width}", f"model.n_heads={heads}", f"model.n_kv_heads={heads}", f"model.d_ff={4 * width}"]
        models = {"dense": [*size, "model.moe.layers=[]"], "MoE": [*size, f"{M}d_ff={2 * width}", M + "layers=all"]}
        step_ms, best = {}, {}
        for model, changes in models.items():
            def run(rate, seed, steps):
                folder = pathlib.Path(args.out) / "dense" / f"{model}-{width}-{rate}-{steps}-{seed}"
                return train(args, folder, [*changes, f"optim.lr={rate}", f"optim.min_lr={rate / 10}", f"train.seed={seed}",
                                            f"train.steps={steps}", f"train.eval_every={steps}", "train.eval_windows=0"])
            rates = {rate: run(rate, 1, args.steps) for rate in (0.003, 0.006, 0.012)}
            best[model] = min(rates, key=lambda r: rates[r]["val"])
            runs = [run(best[model], s, args.steps) for s in range(1, args.seeds + 1)]
            step_ms[model] = 8 * 128 * 1000 / statistics.median(r["speed"] for r in runs)
            steps = round(args.steps * step_ms["dense"] / step_ms[model])
            timed = runs if model == "dense" else [run(best[model], s, steps) for s in range(1, args.seeds + 1)]
            text = lambda rs: f"{statistics.mean(r['val'] for r in rs):.4f} +- {(max(r['val'] for r in rs) - min(r['val'] for r in rs)) / 2:.4f}"
            calc = json.loads(subprocess.run([args.moe, "calc", str(ROOT / "recipes/tiny.yaml"), M + "n_experts=8", *changes, "--json"],
                                             capture_output=True, text=True).stdout or "{}")
            active = f"{calc['active_parameters']:,.0f}" if "active_parameters" in calc else ""
            print(f"| {width} | {model} | {active} | {best[model]} | {text(runs)} | {text(timed)} | {step_ms[model]:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="+", choices=[*STUDIES, "dense"])
    parser.add_argument("--moe", default=str(ROOT / "build/moe"))
    parser.add_argument("--data", default="demo", help="demo, or a text file, read by characters")
    parser.add_argument("--out", default="runs/routers")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.out = str(pathlib.Path(args.out) / pathlib.Path(args.data).stem)
    for study in args.study:
        if study == "dense":
            dense(args)
        else:
            fixed(args, study, STUDIES[study])


if __name__ == "__main__":
    main()
