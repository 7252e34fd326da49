#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads a folder of event files with TensorBoard's own reader and prints what a person would see there.

usage: check_tensorboard.py FOLDER [EXPECTED.json]

One line per tag: number of points, first and last step, last value. With EXPECTED.json, {"tag": [[step, value], ...]},
every point must be there in that order, as float32, and no other: exits 1 with one line per difference.
Needs the Python package tensorboard.
"""
import json
import math
import os
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder):
    reader = EventAccumulator(folder, size_guidance={"scalars": 0})  # 0: keep all points
    reader.Reload()
    return {tag: [(p.step, p.value) for p in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def same(a, b):
    a, b = (struct.unpack("f", struct.pack("f", x))[0] for x in (a, b))
    return a == b or (math.isnan(a) and math.isnan(b))


def differences(got, expected):
    for tag in sorted(got.keys() ^ expected.keys()):
        yield f"{tag}: only in {'the event files' if tag in got else 'the expected points'}"
    for tag in sorted(got.keys() & expected.keys()):
        if len(got[tag]) != len(expected[tag]):
            yield f"{tag}: {len(got[tag])} points, expected {len(expected[tag])}"
        for (step, value), (want_step, want) in zip(got[tag], expected[tag]):
            if step != want_step or not same(value, want):
                yield f"{tag}: step {step} is {value}, expected step {want_step} to be {want}"


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if not os.path.isdir(sys.argv[1]):
        sys.exit(f"check_tensorboard: {sys.argv[1]} is not a folder")
    scalars = read(sys.argv[1])
    for tag, points in sorted(scalars.items()):
        print(f"{tag}: {len(points)} points, steps {points[0][0]} to {points[-1][0]}, last value {points[-1][1]:.6g}")
    if len(sys.argv) == 3:
        with open(sys.argv[2], encoding="utf-8") as file:
            found = list(differences(scalars, json.load(file)))
        print("\n".join(found) if found else "all points as expected")
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
