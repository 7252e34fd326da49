#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Load-balancing losses by transformers' load_balancing_loss_func for random router logits.

Needs torch 2.13 and transformers 5.23. Logits are rounded to three places, so that the file is the whole input.

  tools/make_balance_loss_golden.py tests/golden/nn/hf_balance_loss.json
"""
import json
import sys

import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func


def main(path):
    generator = torch.Generator().manual_seed(5)

    def below(n):
        return int(torch.randint(n, (1,), generator=generator))

    cases = []
    for number in range(50):
        layers, experts, batch, seq = 1 + below(3), 2 + below(6), 1 + below(2), 1 + below(5)
        k = 1 + below(experts)
        scale = (0.1, 1, 4)[number % 3]
        logits = [torch.round(1000 * scale * torch.randn(batch * seq, experts, generator=generator, dtype=torch.float64)) / 1000
                  for _ in range(layers)]
        mask = None
        if number % 2:  # padding at the end of sequences
            mask = torch.ones(batch, seq, dtype=torch.int64)
            for row in mask:
                row[1 + below(seq):] = 0
        loss = load_balancing_loss_func(tuple(logits), experts, k, mask)
        cases.append({"experts": experts, "k": k, "batch": batch, "seq": seq,
                      "valid": mask.flatten().tolist() if mask is not None else [1] * (batch * seq),
                      "logits": [z.tolist() for z in logits], "loss": float(loss)})
    with open(path, "w") as f:
        f.write(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
