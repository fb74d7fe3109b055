#!/usr/bin/env bash
# Writes the golden tables anew (tests/golden), for the ROCm releases that can be had on this
# machine, and docs/equivalence.md, for which the patched libraries are built if need be. Review
# the difference with `git diff`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace
RDNAFIX_GOLDEN='write' cargo test --test golden asks_what_its_table_says -- --nocapture
RDNAFIX_GOLDEN='write' cargo test --test equivalence on_every_machine -- --nocapture
git --no-pager diff --stat -- tests/golden docs/equivalence.md
