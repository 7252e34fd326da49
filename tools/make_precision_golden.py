#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/families/NAME/autocast.json: what a training step in bf16 and f16 loses in PyTorch.

Made with torch 2.13.0 (CPU), transformers 5.24.0. Run from the repository root, after make_model_golden.py:
    python3 tools/make_precision_golden.py
For each type: the loss of sequence 0 under torch.autocast, and of every gradient the norm of its difference from the
float32 one over the norm of that; "all" is the same of all gradients together.
"""
import json
import pathlib

import torch
import transformers

GOLDEN = pathlib.Path("tests/golden/families")
NAMES = ("llama", "qwen3", "qwen3moe")
TYPES = {"bf16": torch.bfloat16, "f16": torch.float16}


def step(model, ids, dtype):
    model.zero_grad()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:])
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters()}


def main():
    for name in NAMES:
        folder = GOLDEN / name
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                                  attn_implementation="sdpa")
        model.train()
        ids = torch.tensor([json.loads((folder / "oracle.json").read_text())["input_ids"][0]])
        loss, exact = step(model, ids, None)
        out = {"torch": torch.__version__, "loss_f32": loss}
        for word, dtype in TYPES.items():
            rounded_loss, gradients = step(model, ids, dtype)
            deviation = {n: ((gradients[n] - g).norm() / g.norm()).item() for n, g in exact.items()}
            total = sum((gradients[n] - g).norm() ** 2 for n, g in exact.items()).sqrt()
            norm = sum(g.norm() ** 2 for g in exact.values()).sqrt()
            out[word] = {"loss": rounded_loss, "all": (total / norm).item(), "largest": max(deviation.values())}
            print(name, word, out[word])
        (folder / "autocast.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
