# SPDX-License-Identifier: MIT
# What the shell tests of this folder share; source it first: . "$MOE_SOURCE_DIR/tests/e2e/lib.sh"
set -euo pipefail

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect_exit CODE COMMAND...: runs it; its output lands in the files out and err of the current folder.
expect_exit() {
  local want=$1 got=0
  shift
  "$@" >out 2>err </dev/null || got=$?
  [ "$got" -eq "$want" ] || {
    tail -n 20 out err >&2
    fail "exit $got, wanted $want: $*"
  }
}

# expect_in FILE FIXED_TEXT
expect_in() {
  grep -qF -- "$2" "$1" || {
    tail -n 20 "$1" >&2
    fail "'$2' is not in $1"
  }
}

# expect_one_line FILE: a clear error is one line.
expect_one_line() {
  [ "$(grep -c '' "$1")" -eq 1 ] || {
    cat "$1" >&2
    fail "$1 should have exactly one line"
  }
}
