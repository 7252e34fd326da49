#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/parquet: the same rows in every form that moe reads, and rows.json. Made with pyarrow 26.0.1.
    python3 tools/make_parquet_golden.py
"""
import json
import pathlib

import pyarrow
import pyarrow.parquet

OUT = pathlib.Path("tests/golden/parquet")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    words = ["alpha", "βeta", "伽马", "", "delta" * 40, "line\nend", None]
    rows = [words[(i * i + i // 7) % len(words)] for i in range(300)] + [f"only {i}" for i in range(40)]
    full = [r or "-" for r in rows]
    (OUT / "rows.json").write_text(json.dumps(dict(nullable=rows, required=full), ensure_ascii=False))

    def table(values, nullable):
        schema = pyarrow.schema([
            pyarrow.field("id", pyarrow.int64()),
            pyarrow.field("meta", pyarrow.struct([("url", pyarrow.string()), ("score", pyarrow.float32())])),
            pyarrow.field("text", pyarrow.string(), nullable=nullable),
        ])
        return pyarrow.table([list(range(len(values))), [dict(url="u", score=1.0)] * len(values), values], schema=schema)

    def write(name, values, nullable, **options):
        pyarrow.parquet.write_table(table(values, nullable), OUT / name, **options)

    for codec in ("none", "snappy", "gzip", "zstd"):
        for version in ("1.0", "2.0"):
            write(f"nullable-{codec}-v{version[0]}.parquet", rows, True, compression=codec, data_page_version=version,
                  row_group_size=150, data_page_size=512)
    write("required-plain.parquet", full, False, use_dictionary=False, compression="snappy")
    write("refused-brotli.parquet", full, False, compression="brotli")
    write("refused-delta.parquet", full, False, use_dictionary=False, column_encoding=dict(text="DELTA_BYTE_ARRAY"))


if __name__ == "__main__":
    main()
