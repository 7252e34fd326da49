#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/adapters: low-rank adapters as PEFT writes them on the tiny models of tests/golden/families, and the
logits that PEFT computes with them in float64; of some also the gradients. Made with torch 2.13.0 (CPU), transformers 5.24.0, peft 0.21.2.
    python3 tools/make_adapter_golden.py
    python3 tools/make_adapter_golden.py llama-dora   # some
Each folder NAME holds adapter_config.json, adapter_model.safetensors, logits.safetensors (ids, logits) and, of DoRA,
gradients.safetensors: of the mean next-token cross-entropy over ids, by the names of adapter_model.safetensors.
"""
import pathlib
import shutil
import sys

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
    # Stacked experts as parameters; the last one named as in transformers 4, which PEFT turns into them.
    "mixtral-stacked": ("mixtral", dict(r=3, lora_alpha=5, target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
                                        target_modules=["q_proj"], alpha_pattern={r"self_attn\.q_proj": 7, "experts.down_proj": 2})),
    "qwen3moe-down": ("qwen3moe", dict(r=2, lora_alpha=3, use_rslora=True, target_parameters=["experts.down_proj"], target_modules=["o_proj"])),
    "olmoe-named": ("olmoe", dict(r=2, lora_alpha=5, target_modules=["v_proj", "gate", "gate_proj", "up_proj", "down_proj"])),
    "llama-dora": ("llama", dict(r=3, lora_alpha=5, use_dora=True, target_modules="all-linear")),
    "bias-dora": ("llama-bias", dict(r=1, lora_alpha=2, use_dora=True, use_rslora=True, target_modules=["k_proj", "gate_proj", "down_proj"])),
    "llama-dora-embedding": ("llama", dict(r=4, lora_alpha=8, use_dora=True, target_modules=["embed_tokens", "lm_head"])),
}


def main():
    for name in sys.argv[1:] or CASES:
        family, arguments = CASES[name]
        torch.manual_seed(7)
        stored = transformers.AutoModelForCausalLM.from_pretrained(FAMILIES / family, dtype=torch.float32)
        prefix = type(stored).__name__.removesuffix("ForCausalLM")
        model = build_float64(stored.config, prefix, {k: v.double() for k, v in stored.state_dict().items()})
        model.name_or_path = str(FAMILIES / family)
        peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **arguments))
        with torch.no_grad():
            for key, parameter in peft.named_parameters():
                if "lora_magnitude" in key:
                    parameter.mul_(1 + torch.randn_like(parameter, dtype=torch.float32).double() * 0.2)
                    parameter.copy_(parameter.float())
                elif "lora_" in key:
                    parameter.copy_(torch.randn_like(parameter, dtype=torch.float32).double() * 0.2)
        peft = peft.double().eval()
        ids = torch.randint(0, model.config.vocab_size, (1, 12))
        with torch.no_grad(), AllFloat64():
            logits = peft(ids).logits[0]
        gradients = {}
        if arguments.get("use_dora"):
            with AllFloat64():
                scores = peft(ids).logits[0, :-1]
            torch.nn.functional.cross_entropy(scores, ids[0, 1:]).backward()
            gradients = {k.replace(".default", "").replace("vector.weight", "vector"): p.grad.clone()
                         for k, p in peft.named_parameters() if p.requires_grad}
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        peft.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        # PEFT keeps the float64 of the model; the values are float32's.
        path = folder / "adapter_model.safetensors"
        save_file({k: v.float().contiguous() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
        save_file(dict(ids=ids[0].int(), logits=logits.contiguous()), folder / "logits.safetensors")
        if gradients:
            save_file({k: v.contiguous() for k, v in gradients.items()}, folder / "gradients.safetensors")
            assert set(gradients) == set(load_file(path)), sorted(set(gradients) ^ set(load_file(path)))[:4]
        print(name, sorted(load_file(path))[:2], logits.abs().max().item())


if __name__ == "__main__":
    main()
