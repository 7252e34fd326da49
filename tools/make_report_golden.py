#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/report/resumed.tfevents: an event file written by TensorBoard's own library.

Made with tensorboard 2.21.0, protobuf 7.36.2. Run from the repository root:
    python3 tools/make_report_golden.py
tests/report/tensorboard_test.cpp writes the same events and compares every byte.
"""
import pathlib

from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

OUT = pathlib.Path("tests/golden/report/resumed.tfevents")
START = 1700000000.25
# (tag, value, step, wall time): defaults that proto3 leaves out, multi-byte varints, a negative step, no number.
SCALARS = [
    ("train/loss", 2.5, 1, START + 1),
    ("train/loss", 0.0, 0, 0.0),
    ("größe", -0.0, 1 << 40, START + 2),
    ("", float("inf"), -1, START + 3),
    ("nan", float("nan"), 300, START + 4),
    ("x" * 200, 1e-45, 128, START + 5),
]


def main():
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("wb") as file:
        records = RecordWriter(file)
        events = [event_pb2.Event(wall_time=START, file_version="brain.Event:2"),
                  event_pb2.Event(wall_time=START, step=501,
                                  session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))]
        for tag, value, step, wall_time in SCALARS:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            events.append(event_pb2.Event(wall_time=wall_time, step=step, summary=summary))
        for event in events:
            records.write(event.SerializeToString())


if __name__ == "__main__":
    main()
