"""The options of a run in several processes."""

from dataclasses import dataclass

from lstmjax.config.fields import check_fields, option
from lstmjax.errors import ConfigError


@dataclass(frozen=True)
class DistributedConfig:
    """How the processes of one run, on one host or many, find each other; see docs/scaling.md."""

    auto: bool = False
    """Take the other three from the cluster: a SLURM job, a TPU pod, or Open MPI."""
    coordinator: str | None = None
    """HOST:PORT of process 0, the same for all processes; any free port of its host."""
    processes: int | None = option(None, low=1)
    """How many processes train together: start each with the same command."""
    process_id: int | None = option(None, low=0)
    """Number of this process, from 0. The first one alone writes files and reports."""
    timeout: float = option(300.0, above=0.0)
    """Seconds to wait for the other processes at the start."""

    def __post_init__(self) -> None:
        check_fields(self, "distributed")
        three = {
            "--distributed.coordinator": self.coordinator,
            "--distributed.processes": self.processes,
            "--distributed.process-id": self.process_id,
        }
        given = [flag for flag, value in three.items() if value is not None]
        missing = [flag for flag in three if flag not in given]
        if self.auto and given:
            raise ConfigError(f"--distributed.auto finds {', '.join(given)} itself: leave one or the other out")
        if given and missing:
            raise ConfigError(f"{', '.join(given)} without {', '.join(missing)}: give all three, or --distributed.auto")
        if self.coordinator is None or self.processes is None or self.process_id is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ConfigError(
                f"distributed.coordinator is {self.coordinator!r}: expected HOST:PORT, such as 10.0.0.1:8476"
            )
        if self.process_id >= self.processes:
            raise ConfigError(
                f"distributed.process_id is {self.process_id}: expected 0 to {self.processes - 1}, as there are "
                f"{self.processes} processes"
            )

    @property
    def active(self) -> bool:
        """Whether there are other processes."""
        return self.auto or self.coordinator is not None
