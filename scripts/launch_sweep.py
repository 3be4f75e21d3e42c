"""Starts several workers on one sweep with submitit: on SLURM, or as processes on this machine.

    python scripts/launch_sweep.py space.toml --run-dir R --workers 4 --cluster local --trials 64 [any option of sweep]
    python scripts/launch_sweep.py space.toml --run-dir R --workers 8 --storage postgresql://user@host/sweeps \
        --slurm.gpus 1 --slurm.partition gpu

    python scripts/launch_sweep.py space.toml --run-dir /shared/R --workers 8 --coordinate  # no database server at hand

Every worker runs `lstmjax.sweep.run` on its own devices. Workers share the trials in the storage, and the checkpoints
of blocks in the run directory, which all hosts must see under the same path. With --coordinate this process serves the
trials, an SQLite file in the run directory, to workers on any host (`lstmjax sweep-proxy`). If a worker dies, other
workers take over its trials; if SLURM preempts one, it saves, is requeued, and continues. Needs
`pip install lstmjax[launch]`, and for --coordinate `lstmjax[launch,grpc]`. POSIX only.
"""

import contextlib
import dataclasses
import os
import socket
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import submitit
import tyro

from lstmjax.cli import one_line_messages
from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError
from lstmjax.runs.signals import Signals
from lstmjax.sweep.config import SweepConfig
from lstmjax.sweep.setup import DATABASE
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.suggest import number_of_trials

JOIN_SECONDS = 60.0
"""Time that a preempted worker has to save; SLURM gives more (``signal_delay_s``)."""

LINGER_SECONDS = 60.0
"""Time that workers have for the report, where this process cannot see when they end."""


@dataclasses.dataclass(frozen=True)
class Slurm:
    """What each worker requests from SLURM."""

    partition: str | None = None
    """Partition. Default: SLURM's."""
    gpus: int = 0
    """GPUs."""
    cpus: int = 4
    """Cores."""
    memory_gb: int = 16
    """Memory."""
    minutes: int = 240
    """Time; a worker that runs out of time is requeued."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """Start several workers on one sweep."""

    space: tyro.conf.Positional[Path]
    """A TOML file with one line per searched option."""
    run_dir: Path
    """Where to leave the trials and the winner."""
    search: Annotated[SweepConfig, tyro.conf.arg(name="")]
    options: Annotated[RunConfig, tyro.conf.arg(name="")]
    """The options that all settings share."""
    slurm: Slurm
    workers: int = 2
    """Number of worker processes."""
    cluster: Literal["slurm", "local", "debug"] = "slurm"
    """slurm: one job per worker. local: processes on this machine, which share its cores. debug: one worker, in this
    process."""
    gpus: int = 0
    """local: GPUs per worker."""
    coordinate: bool = False
    """Without a database server: this process stays, and serves the trials to the workers by a proxy, which has no
    authentication. If it dies, start it again with --workers 0 within five minutes: the workers wait for it."""
    port: int = 13000
    """Port of the proxy."""


class Worker:
    """One worker, which submitit pickles.

    Args:
        launch: what to work on.
        cores: the cores to use; empty for all.
        gpus: the GPUs to use; empty for all.
    """

    def __init__(self, launch: Launch, cores: tuple[int, ...] = (), gpus: tuple[int, ...] = ()) -> None:
        self.launch, self.cores, self.gpus = launch, cores, gpus

    def __call__(self) -> int:
        """Works until all trials are finished; returns their number."""
        if self.cores:
            os.sched_setaffinity(0, self.cores)
        if self.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, self.gpus))
        # In its own thread: submitit's signal handlers run in the main thread, and wait there until all is saved.
        self._stop, self._result = threading.Event(), []
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        while self._thread.is_alive():
            self._thread.join(1.0)
        (result,) = self._result
        if isinstance(result, BaseException):
            raise result
        return result

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit requeues when the node is preempted: the same worker, after its block is saved and released."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        return submitit.helpers.DelayedSubmission(Worker(self.launch, self.cores, self.gpus))

    def _work(self) -> None:
        from lstmjax import parallel, sweep

        try:
            parallel.configure_devices()
            launch = self.launch
            found = sweep.run(
                launch.space, launch.options, launch.run_dir, launch.search, should_stop=self._stop.is_set
            )
            self._result.append(len(found.trials))
        except BaseException as error:
            self._result.append(error)


def main(launch: Launch) -> None:
    """Starts the workers; waits for those on this machine."""
    launch = dataclasses.replace(launch, run_dir=launch.run_dir.resolve(), space=launch.space.resolve())
    if launch.workers < (0 if launch.coordinate else 1):
        raise ConfigError(f"workers is {launch.workers}: expected at least 1")
    if launch.coordinate and launch.search.storage is not None:
        raise ConfigError("--coordinate needs no --storage: give one of the two")
    if launch.cluster == "slurm" and not launch.coordinate and (launch.search.storage or "sqlite").startswith("sqlite"):
        raise ConfigError(
            "SQLite cannot be shared by several hosts: name a server, such as --storage postgresql://user@host/name, a "
            "journal on the shared file system (--storage journal:PATH), let this process serve the trials "
            "(--coordinate), or use this machine only (--cluster local)"
        )
    with contextlib.ExitStack() as stack:
        if launch.coordinate:
            stack.enter_context(Signals(lambda: "the workers wait: start it again with --workers 0"))
            _serve(launch)
        folder = launch.run_dir.parent / f"{launch.run_dir.name}.jobs"
        executor = submitit.AutoExecutor(folder=folder, cluster=launch.cluster)
        executor.update_parameters(name=launch.run_dir.name, **_parameters(launch))
        jobs = [executor.submit(worker) for worker in workers(launch)]
        lines = (f"worker {number}: job {job.job_id}, log {job.paths.stdout}" for number, job in enumerate(jobs))
        print(*lines, sep="\n", flush=True)
        if launch.cluster == "slurm" and not launch.coordinate:
            return
        if not jobs:
            _wait_for_workers(launch)
        failures = [failure for failure in (job.exception() for job in jobs) if failure is not None]
    if jobs and len(failures) == len(jobs):  # one worker that is left does the work of all
        raise SystemExit(f"every worker failed; the last: {failures[-1]}")
    print(f"run directory: {launch.run_dir}")


def workers(launch: Launch) -> list[Worker]:
    """The workers; those on this machine share its cores and GPUs."""
    if launch.coordinate:
        host = "localhost" if launch.cluster != "slurm" else socket.getfqdn()
        search = dataclasses.replace(launch.search, storage=f"grpc://{host}:{launch.port}")
        launch = dataclasses.replace(launch, search=search, coordinate=False)
    if launch.cluster != "local":
        return [Worker(launch)] * (launch.workers if launch.cluster == "slurm" else min(1, launch.workers))
    cores = sorted(os.sched_getaffinity(0))
    divided = [tuple(cores[i :: launch.workers]) or (cores[i % len(cores)],) for i in range(launch.workers)]
    gpus = [tuple(range(i * launch.gpus, (i + 1) * launch.gpus)) for i in range(launch.workers)]
    return [Worker(launch, *devices) for devices in zip(divided, gpus, strict=True)]


def _serve(launch: Launch) -> None:
    """Starts the proxy before the SQLite file in the run directory; it ends with this process."""
    from lstmjax.sweep.study import storage_proxy

    host, failures = "localhost" if launch.cluster != "slurm" else "0.0.0.0", []
    storage_proxy.require_port(host, launch.port)
    launch.run_dir.mkdir(parents=True, exist_ok=True)

    def run() -> None:
        try:
            storage_proxy.serve(f"sqlite:///{launch.run_dir}/{DATABASE}", host, launch.port)
        except BaseException as error:
            failures.append(error)

    threading.Thread(target=run, name="proxy", daemon=True).start()
    while not failures:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", launch.port), timeout=1.0):
            return
        time.sleep(0.1)
    raise failures[0]


def _wait_for_workers(launch: Launch) -> None:
    """Waits until all trials are finished, and then for the workers that write the report."""
    total, table = number_of_trials(launch.search, Space.from_toml(launch.space)), launch.run_dir / "trials.csv"
    while not table.exists() or pd.read_csv(table)["state"].isin(["COMPLETE", "PRUNED", "FAIL"]).sum() < total:
        time.sleep(1.0)
    time.sleep(LINGER_SECONDS)


def _parameters(launch: Launch) -> dict[str, Any]:
    if launch.cluster != "slurm":
        return {"timeout_min": 60 * 24 * 365}
    slurm = launch.slurm
    partition = {} if slurm.partition is None else {"slurm_partition": slurm.partition}
    return partition | {
        "timeout_min": slurm.minutes,
        "cpus_per_task": slurm.cpus,
        "gpus_per_node": slurm.gpus,
        "mem_gb": slurm.memory_gb,
        "slurm_signal_delay_s": round(2 * JOIN_SECONDS),
    }


if __name__ == "__main__":
    default = Launch(tyro.MISSING, tyro.MISSING, SweepConfig(), RunConfig(), Slurm())
    with one_line_messages("launch_sweep"):
        main(tyro.cli(Launch, default=default, description=__doc__))
