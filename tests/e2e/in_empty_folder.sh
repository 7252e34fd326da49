#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a command in a fresh temporary folder that is removed afterwards, so that end-to-end tests cannot see each other.
set -euo pipefail
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
"$@"
