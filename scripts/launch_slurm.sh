#!/usr/bin/env bash
# A sweep on SLURM without submitit: an array of workers on one study. Not tried on a cluster yet: adapt it to yours.
#
#   STORAGE=postgresql://user@host/sweeps sbatch --array=0-7 --gpus=1 scripts/launch_slurm.sh \
#     space.toml --run-dir /shared/runs/search --data.path /shared/data.csv --trials 512 --population 64 --halving 3
#
# Every host must see the run directory under the same path, and reach the storage, which may also be a journal on the shared
# file system (STORAGE=journal:/shared/runs/search.log). Two minutes before its time is over
# (SIGUSR1) a worker saves its block, releases it for the others, and is requeued; a preempted worker too.
#SBATCH --job-name=lstmjax-sweep
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
: "${STORAGE:?give the database of the trials, such as postgresql://user@host/sweeps}"

status=0
srun lstmjax sweep "$@" --storage "$STORAGE" || status=$?
if ((status == 138)); then # stopped by SIGUSR1
  scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
else
  exit "$status"
fi
