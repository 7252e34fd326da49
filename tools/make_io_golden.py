#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/io: small files written by the libraries that define the formats.

Made with safetensors 0.8.0, torch 2.13.0, NumPy 2.4.6. Run from the repository root:
    python3 tools/make_io_golden.py
Byte i of every array is (i * 37 + 11) % 256 (booleans: i % 2), so the C++ tests make the same arrays by themselves.
"""
import pathlib

import numpy as np
import torch
from numpy.lib import format as npy_format
from safetensors.torch import save_file

OUT = pathlib.Path("tests/golden/io")


def pattern(n_bytes, boolean=False):
    return bytes((i % 2) if boolean else (i * 37 + 11) % 256 for i in range(n_bytes))


def torch_tensor(dtype, shape):
    n_bytes = torch.empty(0, dtype=dtype).element_size() * int(np.prod(shape))
    raw = torch.tensor(list(pattern(n_bytes, dtype == torch.bool)), dtype=torch.uint8)
    return raw.view(dtype).reshape(shape).clone()


def numpy_array(descr, shape):
    dtype = np.dtype(descr)
    n_bytes = dtype.itemsize * int(np.prod(shape))
    return np.frombuffer(pattern(n_bytes, descr == "|b1"), dtype=dtype).reshape(shape)


def make_safetensors():
    tensors = {
        "f32": torch_tensor(torch.float32, (3, 5)),
        "a.f32": torch_tensor(torch.float32, (2, 1, 3, 2)),
        "f64": torch_tensor(torch.float64, (3,)),
        "f16": torch_tensor(torch.float16, (5,)),
        "bf16": torch_tensor(torch.bfloat16, (7, 1)),
        "i64": torch_tensor(torch.int64, (2,)),
        "i32": torch_tensor(torch.int32, ()),
        "i16": torch_tensor(torch.int16, (3,)),
        "i8": torch_tensor(torch.int8, (3,)),
        "u64": torch_tensor(torch.uint64, (1,)),
        "u32": torch_tensor(torch.uint32, (2, 2)),
        "u16": torch_tensor(torch.uint16, (3,)),
        "u8": torch_tensor(torch.uint8, (0, 4)),
        "bool": torch_tensor(torch.bool, (5,)),
        'odd "name"\\\n\x01é': torch_tensor(torch.float32, (1,)),
    }
    # One key only: the library keeps metadata in an order that differs from run to run.
    save_file(tensors, OUT / "all_types.safetensors", {"format": "pt"})
    save_file({}, OUT / "empty.safetensors")


def make_npy():
    shapes = {"<f8": (3,), "<f4": (3, 5), "<f2": (2, 2), "<i8": (2, 1, 3), "<i4": (), "<i2": (0, 7), "|i1": (5,),
              "<u8": (1,), "<u4": (2, 3, 1, 2), "<u2": (130,), "|u1": (4,), "|b1": (3,)}
    for descr, shape in shapes.items():
        np.save(OUT / f"{descr[1:]}.npy", numpy_array(descr, shape))
    for version in (2, 3):
        with open(OUT / f"version_{version}.npy", "wb") as file:
            npy_format.write_array(file, numpy_array("<f4", (3, 5)), version=(version, 0))
    np.save(OUT / "fortran.npy", np.asfortranarray(numpy_array("<f4", (3, 5))))
    np.save(OUT / "big_endian.npy", numpy_array(">f4", (3,)))
    np.save(OUT / "structured.npy", np.zeros(2, dtype=[("ids", "<i4"), ("mask", "|b1")]))
    np.save(OUT / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    make_safetensors()
    make_npy()
