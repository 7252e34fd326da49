#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that each relative link and picture in the Markdown files leads to a file, and each #anchor to a heading.

usage: check_links.py [ROOT]      prints one line per finding, exits 1 when there is one
"""

import pathlib
import re
import sys
import urllib.parse

SKIP = {".git", "build", "runs"}
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:img|a)\s[^>]*?(?:src|href)=\"([^\"]+)\"|^\[[^\]]+\]:\s*(\S+)", re.M)


def without_code(text):
    """Code is no link: fenced blocks, indented blocks after an empty line, and `spans` go; line numbers stay."""
    text = re.sub(r"^(```|~~~).*?^\1", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text):
    """Headings as the usual hosts spell them in a URL: lower case, no punctuation, spaces as hyphens."""
    headings = re.findall(r"^#{1,6}\s+(.*?)\s*#*$", re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def findings(root):
    for path in sorted(root.rglob("*.md")):
        name = path.relative_to(root)
        if name.parts[0] in SKIP:
            continue
        text = without_code(path.read_text(encoding="utf-8"))
        for match in LINK.finditer(text):
            link = next(group for group in match.groups() if group)
            number = text.count("\n", 0, match.start()) + 1
            if re.match(r"[a-z][a-z0-9+.-]*:", link, re.I):
                continue
            target, _, anchor = urllib.parse.unquote(link).partition("#")
            file = (root / target.lstrip("/") if target.startswith("/") else path.parent / target) if target else path
            if not file.exists():
                yield f"{name}:{number}: {link} does not exist"
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
                yield f"{name}:{number}: {link}: no such heading"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = list(findings(root))
    print("\n".join(f"links: {line}" for line in found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
