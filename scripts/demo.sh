#!/usr/bin/env bash
# The main job, from a clean clone: forecasts two days of electricity demand and compares with the naive baselines.
#
#   scripts/demo.sh                     arguments go to experiments/elecdemand.py
#   PYTHON=python3.13 scripts/demo.sh   another interpreter than python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/_environment.sh
prepare_environment
build_kernel
exec .venv/bin/python experiments/elecdemand.py "$@"
