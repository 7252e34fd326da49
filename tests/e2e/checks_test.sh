#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The repository passes its own checks, and each check notices what it is for: a wrong include, a broken link, a word that
# does not belong here, a README block that fails.
. "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
tools=$MOE_SOURCE_DIR/tools
blocks=$MOE_SOURCE_DIR/tests/e2e/readme_blocks.py

for check in arrows words links; do
  python3 "$tools/check_$check.py" "$MOE_SOURCE_DIR" || fail "the repository does not pass check_$check"
done

# The planted faults still fit the sources; whether tests notice them is for tools/planted_faults.sh, which compiles.
for fault in "$MOE_SOURCE_DIR"/tools/faults/*.patch; do
  (cd "$MOE_SOURCE_DIR" && git apply --check "$fault") || fail "$(basename "$fault") no longer applies; make it again"
done

# ---- arrows: a small tree that is right, then one fault at a time ------------------------------------------------------
fresh_tree() {
  rm -rf tree
  mkdir -p tree/docs tree/moe/base tree/moe/text tree/moe/tensor
  cp "$MOE_SOURCE_DIR/docs/ARCHITECTURE.md" tree/docs/
  cp "$MOE_SOURCE_DIR/CMakeLists.txt" tree/
  printf '#pragma once\n' | tee tree/moe/base/a.h tree/moe/tensor/t.h tree/moe/text/b.h >/dev/null
  printf '#include "moe/text/b.h"\n\n#include <vector>\n\n#include "moe/base/a.h"\n' >tree/moe/text/b.cpp
}
fresh_tree
expect_exit 0 python3 "$tools/check_arrows.py" tree
echo '#include "moe/tensor/t.h"' >>tree/moe/text/b.cpp
expect_exit 1 python3 "$tools/check_arrows.py" tree
expect_in out "moe/text/b.cpp:6: text may not include moe/tensor/t.h"
fresh_tree
echo '#include "b.h"' >>tree/moe/text/b.cpp
expect_exit 1 python3 "$tools/check_arrows.py" tree
fresh_tree
echo '#ifdef __linux__' >>tree/moe/text/b.cpp
expect_exit 1 python3 "$tools/check_arrows.py" tree
expect_in out "preprocessor condition"
fresh_tree
mkdir tree/moe/misc
cp tree/moe/base/a.h tree/moe/misc/
expect_exit 1 python3 "$tools/check_arrows.py" tree
expect_in out "does not list the folder misc"
fresh_tree
sed -i 's/^moe_folder(text base)/moe_folder(text tensor)/' tree/CMakeLists.txt
expect_exit 1 python3 "$tools/check_arrows.py" tree
expect_in out "moe_folder(text) has arrows ['tensor']"

# ---- links ----------------------------------------------------------------------------------------------------------
rm -rf tree
mkdir -p tree/docs
printf '# Two Words\n[a](docs/b.md) [c](#two-words) [w](https://example.org/x) `[d](nowhere.md)`\n' >tree/README.md
printf '[up](../README.md#two-words)\n' >tree/docs/b.md
expect_exit 0 python3 "$tools/check_links.py" tree
printf '\n![picture](missing.svg)\n[x](../README.md#three-words)\n' >>tree/docs/b.md
expect_exit 1 python3 "$tools/check_links.py" tree
expect_in out "docs/b.md:3: missing.svg does not exist"
expect_in out "docs/b.md:4: ../README.md#three-words: no such heading"

# ---- words ----------------------------------------------------------------------------------------------------------
rm -rf tree
mkdir tree
printf '// SPDX-License-Identifier: MIT\n' >tree/a.h
expect_exit 0 python3 "$tools/check_words.py" tree
printf '// see %s 12\n' "issue" >>tree/a.h
printf 'int x;\n' >tree/b.cpp
expect_exit 1 python3 "$tools/check_words.py" tree
expect_in out "a.h:2:"
expect_in out "b.cpp: no SPDX-License-Identifier"

# ---- README blocks --------------------------------------------------------------------------------------------------
fence='```'
printf '%ssh run\necho one >made\n%s\n%ssh\nexit 9\n%s\n%ssh run\n./run test\ngrep -q one made\n%s\n' \
  "$fence" "$fence" "$fence" "$fence" "$fence" "$fence" >good.md
expect_exit 0 python3 "$blocks" good.md
expect_in out "2 blocks passed"
printf '%ssh run\nfalse\ntrue\n%s\n' "$fence" "$fence" >bad.md
expect_exit 1 python3 "$blocks" bad.md
expect_in out "bad.md:1: this block fails"
printf 'no blocks\n' >none.md
expect_exit 1 python3 "$blocks" none.md

# ---- run: an unknown command names the known ones ---------------------------------------------------------------------
expect_exit 1 "$MOE_SOURCE_DIR/run" nonsense
expect_in err "unknown command 'nonsense'"
