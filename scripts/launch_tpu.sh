#!/usr/bin/env bash
# A sweep on a TPU pod: every host is a worker of its own, with its four chips. No TPU was at hand to run it.
#
#   TPU=name ZONE=us-central2-b STORAGE=postgresql://user@host/sweeps scripts/launch_tpu.sh \
#     space.toml --run-dir /shared/runs/search --data.path /shared/data.csv --trials 512 --population 64 --halving 3
#
# On the hosts lstmjax is installed (pip install "lstmjax[tpu,postgresql]"); /shared is one
# file system, such as NFS. Hosts that die have their trials taken over; start it again to replace them.
set -euo pipefail
: "${TPU:?name of the TPU}" "${ZONE:?its zone}" "${STORAGE:?database of the trials}"

# Members never speak to each other: no host need wait for the others, as JAX on a pod otherwise does.
alone="TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 TPU_VISIBLE_CHIPS=0,1,2,3"
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all \
  --command="$alone lstmjax sweep $(printf '%q ' "$@") --storage $(printf '%q' "$STORAGE")"
