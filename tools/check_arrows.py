#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the layers: every #include of moe/ against the table of docs/ARCHITECTURE.md, and CMakeLists.txt against it too.

usage: check_arrows.py [ROOT]      prints one line per finding, exits 1 when there is one
"""

import pathlib
import re
import sys

SOURCES = {".h", ".cpp", ".cu", ".cuh"}
# Folders that choose a platform or a back end; everywhere else a missing one is a file, not an #if (ARCHITECTURE.md).
PLATFORM_FOLDERS = {"base", "tensor", "kernels", "comm"}


def arrows_of_documentation(text):
    """{folder: set of folders} from the rows "| `x` | ... | `y` `z` |" below the heading "Folders and arrows"."""
    section = re.search(r"^## Folders and arrows\n(.*?)^## ", text, re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", section.group(1) if section else "", re.M)
    return {folder: set(re.findall(r"`(\w+)`", arrows)) for folder, arrows in rows}


def arrows_of_cmake(text):
    calls = re.findall(r"^moe_folder\((\w+)([^)]*)\)", text, re.M)
    return {folder: set(arrows.split()) for folder, arrows in calls}


def reach(folder, arrows):
    """The folder itself and all that its arrows lead to."""
    seen, todo = set(), [folder]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += arrows.get(name, ())
    return seen


def findings(root):
    arrows = arrows_of_documentation((root / "docs/ARCHITECTURE.md").read_text(encoding="utf-8"))
    if "base" not in arrows:
        yield "docs/ARCHITECTURE.md: the table of folders and arrows was not found"
        return
    cmake = arrows_of_cmake((root / "CMakeLists.txt").read_text(encoding="utf-8"))
    for folder in sorted(arrows.keys() | cmake.keys()):
        if arrows.get(folder) != cmake.get(folder):
            yield (f"CMakeLists.txt: moe_folder({folder}) has arrows {sorted(cmake.get(folder, ['(absent)']))}, "
                   f"docs/ARCHITECTURE.md says {sorted(arrows.get(folder, ['(absent)']))}")
    for folder, targets in arrows.items():
        if any(folder in reach(target, arrows) for target in targets):
            yield f"docs/ARCHITECTURE.md: the arrows of {folder} lead back to it"

    for path in sorted((root / "moe").rglob("*")):
        if path.suffix not in SOURCES or not path.is_file():
            continue
        name = path.relative_to(root)
        folder = name.parts[1]
        if folder not in arrows:
            yield f"{name}: docs/ARCHITECTURE.md does not list the folder {folder}"
            continue
        may = reach(folder, arrows)
        text = path.read_text(encoding="utf-8")
        # Highway compiles *-inl.h once per target, so those have guards of its own kind.
        if path.suffix == ".h" and not path.name.endswith("-inl.h") and not re.search(r"^#pragma once$", text, re.M):
            yield f"{name}: a header without #pragma once"
        for number, line in enumerate(text.splitlines(), 1):
            include = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if include:
                quote, target = include.groups()
                if target.startswith("moe/"):
                    if not (root / target).is_file():
                        yield f"{name}:{number}: includes {target}, which does not exist"
                    elif target.split("/")[1] not in may:
                        yield f"{name}:{number}: {folder} may not include {target} (arrows: {', '.join(sorted(may - {folder})) or 'none'})"
                elif target.split("/")[0] in {"apps", "tests", "bench", "fuzz", "examples"}:
                    yield f"{name}:{number}: the library may not include {target}"
                elif quote == '"' and ("/" not in target or (path.parent / target).exists()):
                    yield f'{name}:{number}: "{target}" should be written as its path from the root, "moe/..."'
            elif folder not in PLATFORM_FOLDERS and re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", line):
                yield f"{name}:{number}: preprocessor condition above kernels/ and comm/: {line.strip()}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    found = list(findings(root))
    print("\n".join(f"arrows: {line}" for line in found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
