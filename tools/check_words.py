#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The repository speaks of itself alone: no path of somebody's machine, no talk about how or by whom it was made, no
numbers of a tracker that a reader cannot see, no unfinished marks; and every source file opens with its licence.

usage: check_words.py [ROOT]      prints one line per finding, exits 1 when there is one
"""

import pathlib
import re
import subprocess
import sys

# A letter in brackets keeps a pattern from matching its own line.
FORBIDDEN = [
    (r"\.\./share[d]\b|\.\./\.librar[y]", "a path outside the repository"),
    (r"(?<![\w.{}/-])/(wor[k]|hom[e]|Use[r]s)/", "a path of one machine"),
    (r"(?<![\w.])/tm[p]/[a-z]+/", "a path of one machine"),
    (r"(?i)\b(thi[s]|develope[r]) session\b", "talk about how the code was made"),
    (r"(?i)\bissue [#]?[0-9]+", "a tracker's number"),
    (r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b", "an unfinished mark"),
]
LICENSED = {".h", ".cpp", ".cu", ".cuh", ".py", ".sh"}


def files(root):
    """Tracked and new files that git does not ignore; without git, all files outside of build and runs."""
    try:
        listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"], check=True,
                                 capture_output=True).stdout.decode().split("\0")
        paths = [root / name for name in listing if name]
    except (OSError, subprocess.CalledProcessError):
        skip = {".git", "build", "runs"}
        paths = [p for p in root.rglob("*") if p.relative_to(root).parts[0] not in skip]
    return sorted(p for p in paths if p.is_file())


def findings(root):
    for path in files(root):
        name = path.relative_to(root)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a golden file
        if name.parts[:2] == ("tests", "golden") and path.suffix not in LICENSED:
            continue  # written by another program
        if path.suffix in LICENSED and "SPDX-License-Identifier: MIT" not in "\n".join(text.splitlines()[:3]):
            yield f"{name}: no SPDX-License-Identifier in its first lines"
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, why in FORBIDDEN:
                hit = re.search(pattern, line)
                if hit:
                    yield f"{name}:{number}: '{hit.group(0)}' is {why}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = list(findings(root))
    print("\n".join(f"words: {line}" for line in found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
