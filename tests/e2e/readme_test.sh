#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The README's commands work: its blocks marked `sh run` are run in a copy of the sources beside the built program.
. "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
mkdir -p copy/build
tar -C "$MOE_SOURCE_DIR" --exclude=./build --exclude=./runs --exclude=./.git -cf - . | tar -C copy -xf -
ln -s "$MOE_BINARY" copy/build/moe
cd copy
export MOE_NO_SETUP=1  # ./run uses $MOE_BINARY instead of compiling the copy
python3 tests/e2e/readme_blocks.py README.md
