#!/usr/bin/env bash
# A sweep on a TPU pod: every host is a worker of its own, with its four chips. Not tried on a TPU yet.
#
#   TPU=name ZONE=us-central2-b STORAGE=postgresql://user@host/sweeps scripts/launch_tpu.sh \
#     space.toml --run-dir /shared/runs/search --data.path /shared/data.csv --trials 512 --population 64 --halving 3
#
# Install lstmjax on the hosts (pip install "lstmjax[tpu,postgresql]"); /shared is a shared file system, such as NFS.
# If a host dies, the others take over its trials; start the script again to replace it.
set -euo pipefail
: "${TPU:?name of the TPU}" "${ZONE:?its zone}" "${STORAGE:?database of the trials}"

# Members do not communicate, so no host has to wait for the others, as JAX on a pod otherwise does.
alone="TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 TPU_VISIBLE_CHIPS=0,1,2,3"
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all \
  --command="$alone lstmjax sweep $(printf '%q ' "$@") --storage $(printf '%q' "$STORAGE")"
