#!/usr/bin/env bash
# On SLURM without submitit: one model trained on many nodes, or a sweep. Not tried on a cluster yet: adapt it to yours.
#
# One model, one process per GPU, which find each other by themselves (--distributed.auto):
#
#   RUN_DIR=/shared/runs/model sbatch --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 scripts/launch_slurm.sh \
#     train --data.path /shared/data.csv --data.h 24 --train.batch-size 4096
#
# A sweep, an array of workers on one study, each of which works by itself:
#
#   STORAGE=postgresql://user@host/sweeps sbatch --array=0-7 --gpus=1 scripts/launch_slurm.sh \
#     space.toml --run-dir /shared/runs/search --data.path /shared/data.csv --trials 512 --population 64 --halving 3
#
# Every host must see the run directory under the same path, and a sweep's worker reach the storage, which may also be a
# journal on the shared file system (STORAGE=journal:/shared/runs/search.log). Two minutes before its time is over
# (SIGUSR1), or when it is preempted, a run saves its state, and the job is requeued and resumes it; a worker saves its
# block and releases it for the others.
#SBATCH --job-name=lstmjax
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

status=0
if [[ ${1:-} == train ]]; then
  shift
  : "${RUN_DIR:?give the run directory, on a file system that all nodes share}"
  # Decided here, once: on the nodes the first process may have made it before another looks.
  if [[ -e $RUN_DIR/config.json ]]; then set -- --resume "$RUN_DIR"; else set -- "$@" --run-dir "$RUN_DIR"; fi
  srun lstmjax train "$@" --distributed.auto || status=$?
else
  : "${STORAGE:?give the database of the trials, such as postgresql://user@host/sweeps}"
  srun lstmjax sweep "$@" --storage "$STORAGE" || status=$?
fi
if ((status == 138)); then # stopped by SIGUSR1
  scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
else
  exit "$status"
fi
