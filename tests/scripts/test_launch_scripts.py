"""The command lines that the scripts for SLURM and TPU pods run, with stand-ins for the programs of a cluster."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def launch(tmp_path):
    """Runs a script; returns its exit status, and what it called, a program and its arguments per line."""
    for name in ("srun", "scontrol", "gcloud"):
        program = tmp_path / name
        status = "${SRUN_STATUS:-0}" if name == "srun" else "0"
        program.write_text(f'#!/bin/sh\necho {name} "$@" >>"$CALLS"\nexit {status}\n')
        program.chmod(0o755)

    def run(script, *arguments, **variables):
        calls = tmp_path / "calls"
        calls.unlink(missing_ok=True)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), **variables}
        done = subprocess.run(["bash", SCRIPTS / script, *arguments], env=environment, capture_output=True, text=True)
        return done.returncode, calls.read_text().splitlines() if calls.exists() else done.stderr

    return run


def test_a_run_on_slurm_is_begun_requeued_and_resumed(launch, tmp_path):
    told = {"RUN_DIR": str(tmp_path / "run"), "SLURM_JOB_ID": "7"}
    began = f"srun lstmjax train --data.h 24 --run-dir {tmp_path}/run --distributed.auto"
    assert launch("launch_slurm.sh", "train", "--data.h", "24", **told) == (0, [began])
    stopped = launch("launch_slurm.sh", "train", "--data.h", "24", **told, SRUN_STATUS="138")
    assert stopped == (0, [began, "scontrol requeue 7"])
    assert launch("launch_slurm.sh", "train", "--data.h", "24", **told, SRUN_STATUS="75") == (75, [began])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    resumed = f"srun lstmjax train --resume {tmp_path}/run --distributed.auto"
    assert launch("launch_slurm.sh", "train", "--data.h", "24", **told) == (0, [resumed])
    status, said = launch("launch_slurm.sh", "train")
    assert (status != 0, "give the run directory" in said) == (True, True)


def test_a_sweep_on_slurm_is_as_it_was(launch):
    told = {"STORAGE": "sqlite:///s.db", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SRUN_STATUS": "138"}
    called = ["srun lstmjax sweep space.toml --storage sqlite:///s.db", "scontrol requeue 7_3"]
    assert launch("launch_slurm.sh", "space.toml", **told) == (0, called)


def test_a_tpu_pod(launch):
    told = {"TPU": "pod", "ZONE": "z", "STORAGE": "db"}
    ssh = "gcloud compute tpus tpu-vm ssh pod --zone z --worker=all --command="
    assert launch("launch_tpu.sh", "train", "--run-dir", "/shared/a b", **told) == (
        0,
        [f"{ssh}lstmjax train --run-dir /shared/a\\ b --distributed.auto"],
    )
    status, (line,) = launch("launch_tpu.sh", "space.toml", **told)
    assert status == 0
    assert line.startswith(f"{ssh}TPU_PROCESS_BOUNDS=1,1,1 ")
    assert line.endswith("lstmjax sweep space.toml  --storage db")
