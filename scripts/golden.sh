#!/usr/bin/env bash
# Writes the golden tables anew (tests/golden, docs/golden.md), for the ROCm releases that can be
# had on this machine. Review the difference with `git diff tests/golden`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace
RDNAFIX_GOLDEN='write' cargo test --test golden asks_what_its_table_says -- --nocapture
git --no-pager diff --stat -- tests/golden
