#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Values of the row-wise and elementwise kernels by torch in float64: tests/golden/kernels/rows.json.

    python3 tools/make_row_golden.py        (torch 2.13.0)

The inputs are small fixed numbers, so that a reader can check a line with a pocket calculator.
"""
import json
import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def tensor(values, grad=True):
    return torch.tensor(values, requires_grad=grad)


def norms():
    x, w, b, dy = [1, -2, 0.5, 3], [1, 0.5, 2, -1], [0.25, -1, 0, 2], [0.1, -0.2, 0.3, 0.4]
    out = {}
    for name in ("rms_norm", "layer_norm", "layer_norm_bias"):
        x_, w_, b_ = tensor([float(v) for v in x]), tensor([float(v) for v in w]), tensor([float(v) for v in b])
        if name == "rms_norm":
            y = F.rms_norm(x_, (4,), w_, eps=1e-5)
        else:
            y = F.layer_norm(x_, (4,), w_, b_ if name == "layer_norm_bias" else None, eps=1e-5)
        y.backward(tensor(dy, False))
        out[name] = {"x": x, "w": w, "b": b, "dy": dy, "y": y.tolist(), "dx": x_.grad.tolist(), "dw": w_.grad.tolist()}
        if name == "layer_norm_bias":
            out[name]["db"] = b_.grad.tolist()
    return out


ACTIVATIONS = {
    "relu": F.relu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_erf": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
}


def activations():
    x = [-20.0, -3.0, -1.0, -0.5, -1e-3, 1e-3, 0.5, 1.0, 3.0, 20.0]
    gate, up, dh = [0.7, -0.4, 2.5], [-1.3, 0.6, 1.1], [1.0, -0.5, 2.0]
    out = {"x": x, "gate": gate, "up": up, "dh": dh}
    for name, f in ACTIVATIONS.items():
        x_, g_, u_ = tensor(x), tensor(gate), tensor(up)
        y = f(x_)
        y.sum().backward()
        h = f(g_) * u_
        h.backward(tensor(dh, False))
        out[name] = {"y": y.tolist(), "slope": x_.grad.tolist(), "h": h.tolist(), "dgate": g_.grad.tolist(),
                     "dup": u_.grad.tolist()}
    return out


def losses():
    z, targets, scale = [[1.0, -2.0, 0.5, 3.0, 0.0], [30.0, -30.0, 2.0, 1.0, 0.0], [0.0] * 5], [2, 0, -1], 0.5
    z_ = tensor(z)
    loss = F.cross_entropy(z_, torch.tensor(targets), ignore_index=-1, reduction="none")
    (loss.sum() * scale).backward()
    dp = [0.3, -1.0, 0.2, 0.5, 1.5]
    s_ = tensor(z[0])
    p = torch.softmax(s_, -1)
    p.backward(tensor(dp, False))
    return {"z": z, "targets": targets, "scale": scale, "loss": loss.tolist(), "dz": z_.grad.tolist(), "dp": dp,
            "p": p.tolist(), "softmax_dz": s_.grad.tolist()}


def adamw():
    p = tensor([1.0, -2.0])
    options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
    optimizer = torch.optim.AdamW([p], lr=options["lr"], betas=(0.9, 0.95), eps=options["eps"],
                                  weight_decay=options["weight_decay"])
    grads, steps = [[0.5, -1.0], [0.1, 0.3], [-0.2, 0.0]], []
    for grad in grads:
        p.grad = tensor(grad, False)
        optimizer.step()
        steps.append(p.tolist())
    return {"p": [1.0, -2.0], "grads": grads, "steps": steps, **options}


if __name__ == "__main__":
    golden = {"torch": torch.__version__.split("+")[0], **norms(), "activations": activations(), "losses": losses(),
              "adamw": adamw()}
    path = os.path.join(os.path.dirname(__file__), "..", "tests", "golden", "kernels", "rows.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")
