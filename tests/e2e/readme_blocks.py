#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the blocks of a Markdown file that are fenced as ```sh run, one after another, each in a strict bash in the same
folder. Two lines are changed: `./run test` is left out (this is part of it) and `./run demo` trains for 12 seconds.

usage: readme_blocks.py FILE.md      exits 1 when a block fails or when there is none
"""

import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"^( *)```sh run *\n(.*?)^\1``` *$", re.M | re.S)


def adapted(block):
    lines = []
    for line in block.splitlines():
        command = line.split("#")[0].strip()
        if command == "./run test":
            continue
        if command.split()[:2] == ["./run", "demo"]:
            line = command + " train.minutes=0.2"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main():
    file = pathlib.Path(sys.argv[1])
    text = file.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    if not blocks:
        print(f"{file.name}: no block is fenced as ```sh run")
        return 1
    for match in blocks:
        number = text.count("\n", 0, match.start()) + 1
        script = adapted(match.group(2))
        print(f"--- {file.name}:{number}\n{script}", end="", flush=True)
        status = subprocess.run(["bash", "-euo", "pipefail", "-c", script], stdin=subprocess.DEVNULL).returncode
        if status != 0:
            print(f"{file.name}:{number}: this block fails with exit status {status}")
            return 1
    print(f"{len(blocks)} blocks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
