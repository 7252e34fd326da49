#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Loads an adapter that moe wrote with PEFT and compares its logits with those of moe.
    python3 tools/check_adapter.py MOE BASE ADAPTER
MOE: the program; BASE: the model's folder; ADAPTER: the folder with adapter_config.json. Exits 1 when they differ by
more than 1e-4 of the largest. Needs torch, transformers and peft.
"""
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers
from peft import PeftModel


def main():
    program, base, adapter = sys.argv[1:]
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    without = model.eval()
    ids = torch.randint(0, model.config.vocab_size, (1, 24))
    with torch.no_grad():
        plain = without(ids).logits[0].numpy()
    peft = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        theirs = peft(ids).logits[0].numpy()
    with tempfile.TemporaryDirectory() as folder:
        text = ",".join(map(str, ids[0].tolist()))
        subprocess.run([program, "logits", base, "--adapter", adapter, "--ids", text, "--out", folder + "/x.npy"], check=True)
        ours = numpy.load(folder + "/x.npy")
    difference, change = abs(theirs - ours).max(), abs(theirs - plain).max()
    print(f"largest difference {difference:.2e}, largest logit {abs(theirs).max():.3g}, the adapter's change {change:.3g}")
    if difference > 1e-4 * abs(theirs).max() or change < 1e-3:
        sys.exit("the logits differ, or the adapter does nothing")


if __name__ == "__main__":
    main()
