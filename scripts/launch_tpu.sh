#!/usr/bin/env bash
# On a TPU pod: one model trained on the chips of all hosts, or a sweep. Not tried on a TPU yet.
#
# One model; the processes, one per host, find each other by themselves (--distributed.auto):
#
#   TPU=name ZONE=us-central2-b scripts/launch_tpu.sh \
#     train --run-dir /shared/runs/model --data.path /shared/data.csv --data.h 24 --train.batch-size 4096
#
# If a host dies, all end; "train --resume /shared/runs/model" continues from the last save.
#
# A sweep, in which every host is a worker of its own, with its four chips:
#
#   TPU=name ZONE=us-central2-b STORAGE=postgresql://user@host/sweeps scripts/launch_tpu.sh \
#     space.toml --run-dir /shared/runs/search --data.path /shared/data.csv --trials 512 --population 64 --halving 3
#
# If a host dies, the others take over its trials; start the script again to replace it.
#
# Install lstmjax on the hosts (pip install "lstmjax[tpu,postgresql]"); /shared is a shared file system, such as NFS.
set -euo pipefail
: "${TPU:?name of the TPU}" "${ZONE:?its zone}"

if [[ ${1:-} == train ]]; then
  command="lstmjax $(printf '%q ' "$@")--distributed.auto"
else
  : "${STORAGE:?database of the trials}"
  # Members do not communicate, so no host has to wait for the others, as JAX on a pod otherwise does.
  alone="TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 TPU_VISIBLE_CHIPS=0,1,2,3"
  command="$alone lstmjax sweep $(printf '%q ' "$@") --storage $(printf '%q' "$STORAGE")"
fi
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command="$command"
