#!/usr/bin/env bash
# Every check, from a clean clone: style, types, layers, then all tests. About nine minutes on two cores.
#
#   scripts/test.sh                     all of it
#   scripts/test.sh -n 8 -k lstm        arguments go to pytest
#   scripts/test.sh -m "core and not slow"   tests of the parts, not of whole programs
#   PYTHON=python3.13 scripts/test.sh   another interpreter than python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/_environment.sh
prepare_environment test
build_kernel
PATH="$PWD/.venv/bin:$PATH"

ruff check .
ruff format --check .
mypy
lint-imports --no-logo
# A file stays with one worker, so that what it trains for all of its tests is trained once.
exec python -m slipcover --source lstmjax --skip-covered \
  -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
