#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/adapters: low-rank adapters as PEFT writes them on the tiny models of tests/golden/families, and the
logits that PEFT computes with them in float64. Made with torch 2.13.0 (CPU), transformers 5.24.0, peft 0.21.2.
    python3 tools/make_adapter_golden.py
Each folder NAME holds adapter_config.json, adapter_model.safetensors and logits.safetensors (ids, logits).
"""
import pathlib
import shutil

import torch
import transformers
from make_model_golden import AllFloat64, build_float64
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

FAMILIES, OUT = pathlib.Path("tests/golden/families"), pathlib.Path("tests/golden/adapters")

CASES = {
    "llama-linear": ("llama", dict(r=3, lora_alpha=5, target_modules="all-linear")),
    "qwen2-rslora": ("qwen2", dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"])),
    "llama-ranks": ("llama", dict(r=2, lora_alpha=4, rank_pattern={"o_proj": 5}, target_modules=["o_proj", "up_proj"])),
    "llama-embedding": ("llama", dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "lm_head"])),
    "llama-one-layer": ("llama", dict(r=4, lora_alpha=8, target_modules=["model.layers.1.self_attn.k_proj"])),
}


def main():
    for name, (family, arguments) in CASES.items():
        torch.manual_seed(7)
        stored = transformers.AutoModelForCausalLM.from_pretrained(FAMILIES / family, dtype=torch.float32)
        prefix = type(stored).__name__.removesuffix("ForCausalLM")
        model = build_float64(stored.config, prefix, {k: v.double() for k, v in stored.state_dict().items()})
        model.name_or_path = str(FAMILIES / family)
        peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **arguments))
        with torch.no_grad():
            for key, parameter in peft.named_parameters():
                if "lora_" in key:
                    parameter.copy_(torch.randn_like(parameter, dtype=torch.float32).double() * 0.2)
        peft = peft.double().eval()
        ids = torch.randint(0, model.config.vocab_size, (1, 12))
        with torch.no_grad(), AllFloat64():
            logits = peft(ids).logits[0]
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        peft.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        # PEFT keeps the float64 of the model; the values are float32's.
        path = folder / "adapter_model.safetensors"
        save_file({k: v.float().contiguous() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
        save_file(dict(ids=ids[0].int(), logits=logits.contiguous()), folder / "logits.safetensors")
        print(name, sorted(load_file(path))[:2], logits.abs().max().item())


if __name__ == "__main__":
    main()
