#!/usr/bin/env bash
# Set up, then formatting, lint, types and tests: `bash scripts/test.sh [--all] [pytest arguments …]`.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

selection=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
    selection=()
    shift
fi
stage formatting ruff format --check .
stage lint ruff check .
stage types mypy
stage tests python -m pytest "${selection[@]}" --durations=10 "$@"
print_stages
