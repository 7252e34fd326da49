#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Opens a checkpoint of moe.cpp in transformers (checked with 5.23.0) and compares the logits.

usage: check_transformers.py FOLDER LOGITS.npy --ids 1,2,3 [--tolerance 5e-5]

    build/moe logits FOLDER --ids 1,2,3 --out logits.npy
    python3 tools/check_transformers.py FOLDER logits.npy --ids 1,2,3

Every tensor of the folder must be used and every parameter found. Exits 1 with the reason when transformers cannot open
the folder, a tensor is left over or missing, or a logit differs by more than the tolerance.
"""
import argparse
import sys

import numpy as np
import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("logits", help="float32 [T, V], as `moe logits` writes it")
    parser.add_argument("--ids", required=True, help="the token ids, separated by commas")
    parser.add_argument("--tolerance", type=float, default=5e-5)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)

    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        args.folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager",
        output_loading_info=True)
    problems = {kind: sorted(map(str, names))[:5] for kind, names in info.items() if names}
    if problems:
        sys.exit(f"{args.folder}: {problems}")
    ids = torch.tensor([[int(i) for i in args.ids.split(",")]])
    with torch.no_grad():
        theirs = model.eval()(input_ids=ids, use_cache=False).logits[0].numpy()
    ours = np.load(args.logits, allow_pickle=False)
    if ours.shape != theirs.shape:
        sys.exit(f"{args.logits} is {ours.shape}, transformers computes {theirs.shape}")
    error = float(np.abs(ours - theirs).max())
    print(f"{type(model).__name__}: {ids.shape[1]} tokens, largest difference of a logit {error:.1e}, "
          f"standard deviation of the logits {theirs.std():.2f}")
    if not error <= args.tolerance:
        sys.exit(f"more than {args.tolerance:g}")


if __name__ == "__main__":
    main()
