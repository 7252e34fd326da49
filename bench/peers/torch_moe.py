#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same work in plain PyTorch: training steps and one-token decode of the shapes of `moe bench`.

Eager code as one would write it: scaled_dot_product_attention, one matrix product per projection and expert, index_add_
to bring the experts' rows back. Prints one JSON object. Needs torch (2.13.0 was compared); bench/compare.py runs it.

usage: torch_moe.py train|decode --shape mixtral|fine|nanogpt [--batch N] [--steps N] [--threads N] [--compile]
"""
import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

N_LAYERS, D_MODEL, N_HEADS, SEQ, VOCAB = 6, 384, 6, 256, 65
SHAPES = {
    "mixtral": dict(n_experts=8, top_k=2, d_ff=1024, shared=0),
    "fine": dict(n_experts=32, top_k=4, d_ff=256, shared=1),
    "nanogpt": None,
}


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class SwiGLU(nn.Module):
    def __init__(self, d, f):
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(a, b, bias=False) for a, b in ((d, f), (d, f), (f, d)))

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GeluMlp(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)
        self.aux = 0.0

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class MoE(nn.Module):
    def __init__(self, d, n_experts, top_k, d_ff, shared):
        super().__init__()
        self.n_experts, self.top_k = n_experts, top_k
        self.gate = nn.Linear(d, n_experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(d, d_ff) for _ in range(n_experts))
        self.shared = SwiGLU(d, d_ff * shared) if shared else None
        self.aux = 0.0

    def forward(self, x):
        shape = x.shape
        x = x.view(-1, shape[-1])
        p = F.softmax(self.gate(x), -1)
        w, chosen = p.topk(self.top_k, -1)
        w = w / w.sum(-1, keepdim=True)
        mask = F.one_hot(chosen, self.n_experts).permute(2, 1, 0)
        if self.training:
            self.aux = self.n_experts * (mask.float().mean((1, 2)) * p.mean(0)).sum()
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            choice, token = torch.where(mask[e])
            if token.numel():
                out.index_add_(0, token, expert(x[token]) * w[token, choice, None])
        if self.shared is not None:
            out = out + self.shared(x)
        return out.view(shape)


class Attention(nn.Module):
    def __init__(self, rope):
        super().__init__()
        self.rope = rope
        self.qkv, self.o = nn.Linear(D_MODEL, 3 * D_MODEL, bias=False), nn.Linear(D_MODEL, D_MODEL, bias=False)

    def forward(self, x, cos, sin, cache):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, N_HEADS, -1).transpose(1, 2) for z in self.qkv(x).split(d, -1))
        if self.rope:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            n = cache["length"]
            cache["k"][:, :, n:n + t], cache["v"][:, :, n:n + t], cache["length"] = k, v, n + t
            k, v = cache["k"][:, :, :n + t], cache["v"][:, :, :n + t]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        return self.o(y.transpose(1, 2).reshape(b, t, d))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Block(nn.Module):
    def __init__(self, moe):
        super().__init__()
        norm = RMSNorm if moe else lambda d: nn.LayerNorm(d, bias=False)
        self.norm1, self.norm2 = norm(D_MODEL), norm(D_MODEL)
        self.attention = Attention(rope=moe is not None)
        self.ffn = MoE(D_MODEL, **moe) if moe else GeluMlp(D_MODEL)

    def forward(self, x, cos, sin, cache):
        x = x + self.attention(self.norm1(x), cos, sin, cache)
        return x + self.ffn(self.norm2(x))


class Model(nn.Module):
    def __init__(self, moe):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, D_MODEL)
        self.position = None if moe else nn.Embedding(SEQ, D_MODEL)
        self.blocks = nn.ModuleList(Block(moe) for _ in range(N_LAYERS))
        self.norm = RMSNorm(D_MODEL) if moe else nn.LayerNorm(D_MODEL, bias=False)
        self.head = nn.Linear(D_MODEL, VOCAB, bias=False)
        self.head.weight = self.embedding.weight
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        a = D_MODEL // N_HEADS
        angle = torch.arange(1024)[:, None] * 10000.0 ** (-torch.arange(0, a, 2) / a)
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, ids, caches=None, position=0):
        n = ids.shape[1]
        x = self.embedding(ids)
        if self.position is not None:
            x = x + self.position.weight[position:position + n]
        for i, block in enumerate(self.blocks):
            x = block(x, self.cos[position:position + n], self.sin[position:position + n], caches[i] if caches else None)
        return self.head(self.norm(x))


def train(model, args):
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95))
    run = torch.compile(model) if args.compile else model
    seconds = []
    for _ in range(args.steps + args.warmup):
        x, y = torch.randint(VOCAB, (args.batch, SEQ)), torch.randint(VOCAB, (args.batch, SEQ))
        begin = time.perf_counter()
        loss = F.cross_entropy(run(x).view(-1, VOCAB), y.view(-1)) + 0.01 * sum(b.ffn.aux for b in model.blocks)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
    return args.batch * SEQ, seconds[args.warmup:]


@torch.no_grad()
def decode(model, args):
    model.eval()
    a = D_MODEL // N_HEADS
    caches = [{"k": torch.zeros(args.batch, N_HEADS, 1024, a), "v": torch.zeros(args.batch, N_HEADS, 1024, a), "length": 0}
              for _ in range(N_LAYERS)]
    x = torch.randint(VOCAB, (args.batch, 32))
    x = model(x, caches)[:, -1].argmax(-1, keepdim=True)
    seconds = []
    for i in range(200):
        begin = time.perf_counter()
        x = model(x, caches, 32 + i)[:, -1].argmax(-1, keepdim=True)
        seconds.append(time.perf_counter() - begin)
    return args.batch, seconds[20:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "decode"])
    parser.add_argument("--shape", choices=list(SHAPES), default="mixtral")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    args.batch = args.batch or (16 if args.what == "train" else 1)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = Model(SHAPES[args.shape])
    tokens, seconds = (train if args.what == "train" else decode)(model, args)
    median = statistics.median(seconds)
    print(json.dumps({
        "tokens_per_second": tokens / median,
        "seconds": median,
        "parameters": sum(p.numel() for p in model.parameters()),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "torch": torch.__version__,
    }))


if __name__ == "__main__":
    main()
