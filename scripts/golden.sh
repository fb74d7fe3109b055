#!/usr/bin/env bash
# Writes the golden tables anew (tests/golden), for the ROCm releases that can be had on this
# machine, docs/policy.md, docs/equivalence.md and docs/pytorch-patches.md; for the last two the
# patched libraries are built if need be. Review the difference with `git diff`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace
RDNAFIX_GOLDEN='write' cargo test --package rdnafix-policy --test page
RDNAFIX_GOLDEN='write' cargo test --test golden asks_what_its_table_says -- --nocapture
RDNAFIX_GOLDEN='write' cargo test --test equivalence on_every_machine -- --nocapture
RDNAFIX_GOLDEN='write' cargo test --test pytorch_patch the_table -- --nocapture --test-threads=1
git --no-pager diff --stat -- tests/golden docs/policy.md docs/equivalence.md docs/pytorch-patches.md
