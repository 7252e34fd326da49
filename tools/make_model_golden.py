#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/families and tests/golden/optim: tiny random checkpoints and what transformers computes with them.

Made with torch 2.13.0 (CPU), transformers 5.23.0, safetensors 0.8.0. Run from the repository root:
    python3 tools/make_model_golden.py                 # every model, seed 11
    python3 tools/make_model_golden.py llama muon      # some
The same command gives the same weights, prompts and tokens; sums in float64 may differ in the last bit on another
processor.
Each folder tests/golden/families/NAME holds
  model.safetensors   float32, under the names that public checkpoints carry
  config.json         as transformers 5 writes it; config_v4.json: the same model in the spelling of public checkpoints
  oracle.json         two prompts, the loss of each, 16 greedy tokens after each
  oracle.safetensors  logits.I [S, V]; hidden.L.1: the residual stream entering layer L, the last one after the final
                      norm; router.L.{indices,weights}.I by falling weight
  grads.json, train.json (some): gradients of sequence 0's loss; 20 steps of AdamW
Everything is computed in float64. model.double() alone is not that: norms, softmaxes, routers and rotary tables cast to
float32 on the way. AllFloat64 below turns each such cast into float64, and every gradient is checked against finite
differences, which a single float32 rounding would spoil.
"""
import json
import math
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode
from transformers.core_model_loading import revert_weight_conversion

OUT = pathlib.Path("tests/golden")
SEED = 11
N_NEW_TOKENS = 16
N_TRAIN_STEPS = 20
PROMPT_LENGTHS = (24, 17)
MIN_LOGIT_GAP = 1e-3  # greedy decoding must not hinge on rounding
MIN_DISTINCT = 5  # nor repeat one token
EOS_FREE = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)

# Every number that a reader could get wrong differs from the family's default. Weights have a standard deviation of
# about 0.2 and eps is large, so a wrong constant moves the logits far beyond rounding.
DENSE = dict(vocab_size=112, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-3)
SPARSE = dict(DENSE, vocab_size=104, hidden_size=32, intermediate_size=40, num_hidden_layers=3)
SMALL = dict(DENSE, vocab_size=72, hidden_size=24, intermediate_size=20)


def rope(theta, rope_type="default", **rest):
    return dict(rope_parameters=dict(rope_theta=float(theta), rope_type=rope_type, **rest))


# name -> (class prefix, config arguments)
MODELS = {
    "gpt2": ("GPT2", dict(vocab_size=112, n_embd=48, n_layer=2, n_head=4, n_inner=80, n_positions=64,
                          layer_norm_epsilon=1e-3, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)),
    "llama": ("Llama", dict(DENSE, head_dim=16, **rope(500), tie_word_embeddings=False)),
    "llama-rope3": ("Llama", dict(
        DENSE, head_dim=12, tie_word_embeddings=True,
        **rope(700, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
               original_max_position_embeddings=32))),
    "qwen2": ("Qwen2", dict(DENSE, tie_word_embeddings=True, **rope(300))),
    "qwen3": ("Qwen3", dict(DENSE, head_dim=16, tie_word_embeddings=True, **rope(350))),
    "mixtral": ("Mixtral", dict(SPARSE, num_hidden_layers=2, num_local_experts=6, num_experts_per_tok=2,
                                intermediate_size=24, head_dim=12, router_aux_loss_coef=0.02, **rope(450))),
    "qwen3moe": ("Qwen3Moe", dict(SPARSE, head_dim=12, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=12,
                                  norm_topk_prob=True, mlp_only_layers=[1], **rope(650))),
    "olmoe": ("Olmoe", dict(SPARSE, num_hidden_layers=2, intermediate_size=16, num_experts=8, num_experts_per_tok=3,
                            norm_topk_prob=False, **rope(750))),
    # The options of those families: biases everywhere with one kv head, windows of one layer and of all.
    "llama-bias": ("Llama", dict(SMALL, num_key_value_heads=1, attention_bias=True, mlp_bias=True,
                                 hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True, **rope(900))),
    "qwen3-window": ("Qwen3", dict(SMALL, head_dim=8, num_hidden_layers=3, attention_bias=True, use_sliding_window=True,
                                   sliding_window=5, max_window_layers=1, tie_word_embeddings=True, **rope(350))),
    "mixtral-window": ("Mixtral", dict(SMALL, num_local_experts=5, num_experts_per_tok=1, sliding_window=6,
                                       tie_word_embeddings=True, **rope(450))),
    "qwen3moe-window": ("Qwen3Moe", dict(SMALL, head_dim=8, num_experts=5, num_experts_per_tok=2,
                                         moe_intermediate_size=12, norm_topk_prob=False, decoder_sparse_step=2,
                                         use_sliding_window=True, sliding_window=7, tie_word_embeddings=True,
                                         **rope(650))),
}
WITH_GRADS = ("gpt2", "llama", "mixtral", "qwen3moe")
WITH_TRAIN = ("llama", "mixtral")


class AllFloat64(TorchFunctionMode):
    """Every request for float32 becomes one for float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        swap = lambda x: torch.float64 if x is torch.float32 else x
        return func(*map(swap, args), **{k: swap(v) for k, v in (kwargs or {}).items()})


def build(config, prefix):
    cls = getattr(transformers, prefix + ("LMHeadModel" if prefix == "GPT2" else "ForCausalLM"))
    return cls._from_config(config, attn_implementation="eager", experts_implementation="eager").eval()


def build_float64(config, prefix, state):
    """The same weights in a model built under AllFloat64, so that its rotary tables are float64 too."""
    torch.set_default_dtype(torch.float64)
    try:
        with AllFloat64():
            config.dtype = None
            model = build(config, prefix)
    finally:
        torch.set_default_dtype(torch.float32)
        config.dtype = "float32"
    model.load_state_dict(state)
    assert all(t.dtype == torch.float64 for t in (*model.parameters(), *model.buffers()) if t.is_floating_point())
    return model


def randomise(model, generator):
    persistent = set(model.state_dict())
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name not in persistent or not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            owner = name.split(".")[-2] if "." in name else ""
            is_norm = name.endswith("weight") and tensor.ndim == 1 and ("norm" in owner or owner.startswith("ln_"))
            tensor.copy_(1.0 + 0.2 * noise if is_norm else 0.2 * noise)


def next_token_loss(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def with_routing(model, run):
    """run(), and for every module called as experts(x, indices, weights) what it was called with."""
    calls, hooks = {}, []

    def remember(name):
        def hook(module, args, kwargs):
            values = [*args, *kwargs.values()]
            calls[name] = (values[1].detach(), values[2].detach())
        return hook

    for name, module in model.named_modules():
        if type(module).__name__.endswith("Experts"):
            hooks.append(module.register_forward_pre_hook(remember(name), with_kwargs=True))
    try:
        result = run()
    finally:
        for h in hooks:
            h.remove()
    return result, calls


@torch.no_grad()
def greedy_without_cache(model, ids):
    """Continuation and the smallest gap between the best two logits on the way."""
    gap = math.inf
    for _ in range(N_NEW_TOKENS):
        best = model(input_ids=ids, use_cache=False).logits[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        ids = torch.cat([ids, best.indices[:1][None]], dim=1)
    return ids[0, -N_NEW_TOKENS:].tolist(), gap


@torch.no_grad()
def greedy_with_cache(model, ids):
    out = model.generate(ids, max_new_tokens=N_NEW_TOKENS, do_sample=False, use_cache=True,
                         attention_mask=torch.ones_like(ids))
    return out[0, -N_NEW_TOKENS:].tolist()


@torch.no_grad()
def is_robust(model, sequences, generator, reference):
    """No near tie in a router: rounding-sized noise in the weights leaves routes alone and moves logits by a little."""
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    for p in model.parameters():
        p.mul_(1 + 1e-5 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    worst = 0.0
    with AllFloat64():
        for ids, logits in zip(sequences, reference):
            worst = max(worst, (model(input_ids=ids, use_cache=False).logits[0] - logits).abs().max().item())
    model.load_state_dict(kept)
    return worst < 5e-3


def digest(model, tensors):
    """Checkpoint name -> L2 norm, first 8 values, and sum of value[i] * cos(i), which sees a wrong layout."""
    out = {}
    for name, t in revert_weight_conversion(model, tensors).items():
        flat = t.detach().double().flatten()
        out[name] = dict(shape=list(t.shape), norm=flat.norm().item(), head=flat[:8].tolist(),
                         cos_sum=(flat * torch.arange(len(flat), dtype=torch.float64).cos()).sum().item())
    return out


def gradients(model, ids, aux_coefficient=None):
    kwargs = {}
    if aux_coefficient is not None:
        kwargs["output_router_logits"] = True
        model.router_aux_loss_coef = model.config.router_aux_loss_coef = aux_coefficient

    def loss_of():
        with AllFloat64():
            out = model(input_ids=ids, labels=ids, use_cache=False, **kwargs)
        return out.loss, getattr(out, "aux_loss", None)

    model.zero_grad()
    loss, aux = loss_of()
    with AllFloat64():
        loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    # Finite differences along a random direction: agreement to 1e-6 means no float32 rounding hides in the forward.
    # (Routes do not change at this step size, so the kept part of a sparse model is smooth.)
    generator, h = torch.Generator().manual_seed(0), 1e-6
    direction = {n: torch.randn(p.shape, generator=generator, dtype=torch.float64)
                 for n, p in model.named_parameters()}
    sides = []
    with torch.no_grad():
        for step in (h, -2 * h, h):
            for n, p in model.named_parameters():
                p.add_(step * direction[n])
            sides.append(loss_of()[0].item())
    numeric = (sides[0] - sides[1]) / (2 * h)
    analytic = sum((g * direction[n]).sum().item() for n, g in grads.items())
    error = abs(numeric - analytic) / abs(analytic)
    assert error < 1e-6, f"finite differences disagree: {error:g}"
    result = dict(sequence=0, loss=loss.item(), finite_difference_error=error, gradients=digest(model, grads))
    if aux_coefficient is not None:
        result.update(aux_loss=aux.item(), router_aux_loss_coef=aux_coefficient)
    return result


def train(model, batches):
    decay = [p for p in model.parameters() if p.ndim >= 2]
    no_decay = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [dict(params=decay, weight_decay=0.1), dict(params=no_decay, weight_decay=0.0)],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(N_TRAIN_STEPS):
        ids = batches[step % len(batches)]
        optimizer.zero_grad()
        with AllFloat64():
            loss = next_token_loss(model(input_ids=ids, use_cache=False).logits, ids)
            loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
    return losses, norms


def config_as_v4(config):
    """config.json in the spelling of transformers 4, which is the one that public checkpoints carry."""
    c = dict(config)
    c["torch_dtype"] = c.pop("dtype", "float32")
    c["transformers_version"] = "4.57.0"
    parameters = c.pop("rope_parameters", None)
    if parameters:
        parameters = dict(parameters)
        c["rope_theta"] = parameters.pop("rope_theta")
        rope_type = parameters.pop("rope_type", "default")
        c["rope_scaling"] = None if rope_type == "default" else {"rope_type": rope_type, **parameters}
    if c["model_type"] == "qwen2" or c.get("use_sliding_window"):  # max_window_layers says it instead
        c.pop("layer_types", None)
    if c["model_type"] == "qwen3_moe":  # transformers 5 writes num_local_experts
        c["num_experts"] = c.pop("num_local_experts", c.get("num_experts"))
    return c


def make_model(name):
    prefix, arguments = MODELS[name]
    config = getattr(transformers, prefix + "Config")(**{**arguments, **EOS_FREE})
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = build(config, prefix)
    randomise(model, generator)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model64 = build_float64(config, prefix, state)

    for attempt in range(200):
        sequences = [torch.randint(config.vocab_size, (1, n), generator=generator) for n in PROMPT_LENGTHS]
        with torch.no_grad(), AllFloat64():
            runs64 = [with_routing(model64, lambda: model64(input_ids=s, use_cache=False).logits[0]) for s in sequences]
        logits64 = [r[0] for r in runs64]
        assert all(l.dtype == torch.float64 for l in logits64)
        if not is_robust(model64, sequences, generator, logits64):
            continue
        with AllFloat64():
            greedy = [greedy_without_cache(model64, s) for s in sequences]
        if min(gap for _, gap in greedy) >= MIN_LOGIT_GAP and min(len(set(t)) for t, _ in greedy) >= MIN_DISTINCT:
            break
    else:
        raise RuntimeError("no prompt with a clear greedy path")

    with torch.no_grad():
        error = max((model(input_ids=s, use_cache=False).logits[0].double() - l).abs().max().item()
                    for s, l in zip(sequences, logits64))
    expected = [tokens for tokens, _ in greedy]
    assert [greedy_with_cache(model, s) for s in sequences] == expected, "cached generation differs"

    tensors, moe_layers = {}, []
    with torch.no_grad(), AllFloat64():
        hidden = model64(input_ids=sequences[1], use_cache=False, output_hidden_states=True).hidden_states
    tensors.update({f"hidden.{l}.1": h[0].float().contiguous() for l, h in enumerate(hidden)})
    for i, (logits, calls) in enumerate(runs64):
        tensors[f"logits.{i}"] = logits.float().contiguous()
        for module, (indices, weights) in calls.items():
            order = weights.argsort(dim=-1, descending=True, stable=True)
            layer = next(part for part in module.split(".") if part.isdigit())
            tensors[f"router.{layer}.indices.{i}"] = indices.gather(-1, order).to(torch.int32).contiguous()
            tensors[f"router.{layer}.weights.{i}"] = weights.gather(-1, order).float().contiguous()
            if int(layer) not in moe_layers:
                moe_layers.append(int(layer))

    folder = OUT / "families" / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config_json = json.loads((folder / "config.json").read_text())
    (folder / "config_v4.json").write_text(json.dumps(config_as_v4(config_json), indent=2) + "\n")
    save_file(tensors, folder / "oracle.safetensors")
    (folder / "oracle.json").write_text(json.dumps(dict(
        versions=dict(torch=torch.__version__, transformers=transformers.__version__), seed=SEED,
        input_ids=[s[0].tolist() for s in sequences],
        loss=[next_token_loss(l[None], s).item() for l, s in zip(logits64, sequences)],
        greedy=expected, max_abs_float32_minus_float64=error, moe_layers=moe_layers), indent=None) + "\n")

    if name in WITH_GRADS:
        (folder / "grads.json").write_text(json.dumps(gradients(model64, sequences[0])) + "\n")
        if name == "mixtral":
            with_aux = gradients(model64, sequences[0], aux_coefficient=0.02)
            (folder / "grads_with_aux_loss.json").write_text(json.dumps(with_aux) + "\n")
    if name in WITH_TRAIN:
        batches = [torch.randint(config.vocab_size, (2, 16), generator=generator) for _ in range(4)]
        model64.load_state_dict(state)
        losses, norms = train(model64, batches)
        (folder / "train.json").write_text(json.dumps(dict(
            optimizer="AdamW lr 1e-3 betas 0.9 0.95 eps 1e-8, weight decay 0.1 where ndim >= 2, clip 1.0, "
                      "aux loss off; step i uses batches[i % 4]",
            batches=[b.tolist() for b in batches], loss=losses, grad_norm=norms,
            final_parameters=digest(model64, dict(model64.named_parameters())))) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:16} {size // 1024:5} KiB  float32 - float64 {error:.1e}  attempt {attempt}", flush=True)


def newton_schulz_float64(g, coefficients, steps, eps):
    a, b, c = coefficients
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def make_muon():
    """torch.optim.Muon on one matrix. Its Newton-Schulz runs in bfloat16; *_exact repeats the step in float64."""
    generator = torch.Generator().manual_seed(SEED)
    cases = []
    for shape, options in (((6, 10), {}), ((12, 5), {}), ((8, 8), dict(nesterov=False)),
                           ((12, 5), dict(adjust_lr_fn="match_rms_adamw"))):
        options = dict(lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True, adjust_lr_fn=None) | options
        start = torch.randn(shape, generator=generator)
        grads = [torch.randn(shape, generator=generator) for _ in range(3)]
        p = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.Muon([p], **options)
        group = optimizer.param_groups[0]
        exact, difference = [], 0.0
        q, buffer = start.double(), torch.zeros(shape, dtype=torch.float64)
        for g in grads:
            p.grad = g.clone()
            optimizer.step()
            g64, mu = g.double(), options["momentum"]
            buffer = mu * buffer + (1 - mu) * g64
            update = (1 - mu) * g64 + mu * buffer if options["nesterov"] else buffer
            rows, cols = shape
            ratio = 0.2 * math.sqrt(max(rows, cols)) if options["adjust_lr_fn"] else math.sqrt(max(1, rows / cols))
            o = newton_schulz_float64(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
            q = q * (1 - options["lr"] * options["weight_decay"]) - options["lr"] * ratio * o
            exact.append(q.clone())
            difference = max(difference, (p.detach().double() - q).abs().max().item())
        assert difference < 1e-3, "bfloat16 step and exact step are not the same algorithm"
        cases.append(dict(shape=shape, **options, start=start.tolist(), gradients=[g.tolist() for g in grads],
                          after_step_exact=[e.tolist() for e in exact], bfloat16_minus_exact=difference))
    folder = OUT / "optim"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "muon.json").write_text(json.dumps(dict(versions=dict(torch=torch.__version__), cases=cases)) + "\n")
    print("muon")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for wanted in sys.argv[1:] or [*MODELS, "muon"]:
        make_muon() if wanted == "muon" else make_model(wanted)
