#!/usr/bin/env bash
# Set up, then formatting, lint, types and tests: `bash scripts/test.sh [--all] [pytest arguments …]`.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

selection=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
    selection=()
    shift
fi
ruff format --check .
ruff check .
mypy
python -m pytest "${selection[@]}" --durations=10 "$@"
