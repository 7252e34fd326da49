#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Are the tests worth their time? Plants one known fault at a time (tools/faults/*.patch) in a scratch copy of the sources,
# builds the test programs that should notice, runs them, and says which tests fail. A fault that no test notices is a
# failure of this script, and so is a test that fails without any fault.
#
# A patch begins with lines of text, then a unified diff (git diff):
#   What: swap two experts                  one line for the report
#   Target: test_nn test_ops                programs to build and run, from tests/CMakeLists.txt
#   Filter: MoELayer.*:Experts.*            optional --gtest_filter, to save time
#
# usage: planted_faults.sh [NAME...]        names of faults without .patch; all of them when none is given
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export GIT_CEILING_DIRECTORIES=$scratch/..             # git apply works on plain files there
export CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=true  # the next scratch folder finds what this one compiled
jobs=$(nproc)

faults=()
for name in "$@"; do faults+=("$source/tools/faults/$name.patch"); done
[ $# -gt 0 ] || faults=("$source"/tools/faults/*.patch)

field() { sed -n "s/^$2: *//p;/^diff --git /q" "$1" | head -n 1; }

tar -C "$source" --exclude=./build --exclude=./runs --exclude=./.git -cf - . | tar -C "$scratch" -xf -
cd "$scratch"
cmake -S . -B build -G Ninja -DMOE_WERROR=OFF >configure.log 2>&1 || { cat configure.log; exit 1; }

# run_tests FAULT LOG: builds and runs the fault's programs; 0 passed, 1 a test failed, 2 did not compile.
run_tests() {
  local target filter status=0
  filter=$(field "$1" Filter)
  : >"$2"
  # shellcheck disable=SC2046
  ninja -C build -j "$jobs" $(field "$1" Target) >build.log 2>&1 || { tail -n 30 build.log; return 2; }
  for target in $(field "$1" Target); do
    timeout 600 "build/$target" --gtest_brief=1 --gtest_filter="${filter:-*}" >"$target.log" 2>&1 </dev/null || status=1
    cat "$target.log" >>"$2"
    grep -q '^\[==========\].* ran\.' "$target.log" || echo "[  FAILED  ] $target ended before its tests" >>"$2"
  done
  return "$status"
}

failed=0
for fault in "${faults[@]}"; do
  name=$(basename "$fault" .patch)
  [ -f "$fault" ] && [ -n "$(field "$fault" Target)" ] || { echo "$name: no such patch, or it names no Target"; exit 2; }
  status=0
  run_tests "$fault" clean.log || status=$?
  [ "$status" -eq 0 ] || { echo "$name: the tests do not pass without the fault"; tail -n 20 clean.log; exit 1; }
  ! grep -q '\] 0 tests from' clean.log || { echo "$name: the filter selects no test"; exit 2; }

  git apply "$fault" || { echo "$name: the patch no longer applies; make it again"; exit 2; }
  status=0
  run_tests "$fault" planted.log || status=$?
  case $status in
    0) echo "MISSED  $name: $(field "$fault" What)"; failed=1 ;;
    1)
      echo "caught  $name: $(field "$fault" What)"
      sed -n 's/^\[  FAILED  \] \([^ (]*\).*/          \1/p' planted.log | sort -u | head -n 12
      ;;
    *) echo "$name: the patched sources do not compile"; exit 2 ;;
  esac
  git apply -R "$fault"
done
exit "$failed"
