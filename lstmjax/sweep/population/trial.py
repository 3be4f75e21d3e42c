"""A trial of a sweep, one setting of the searched options, and its outcome."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lstmjax.forecaster.fitted import Fitted

TrialState = Literal["COMPLETE", "PRUNED", "FAIL"]
"""As Optuna calls them."""


class Trial(NamedTuple):
    """One setting to try."""

    number: int
    """Its number in the sweep, from 0."""
    params: dict[str, Any]
    """Values by dotted name; options that are not named are those of the sweep's base config."""


@dataclass(frozen=True)
class Outcome:
    """The result of a trial."""

    number: int
    """The trial's number."""
    state: TrialState
    """COMPLETE: trained to its end. PRUNED: others were better at a rung. FAIL: see ``reason``."""
    value: float | None
    """The objective of the kept weights, mean over the trial's members; lower is better. Of a pruned trial, as it was
    when it was pruned. None if it failed."""
    value_std: float | None
    """Deviation of that over the members (ddof = 1); None with a single member, or if it failed."""
    intermediate: dict[int, float]
    """The objective at each validation check, by step: of the weights as they were then, mean over the members."""
    steps: int
    """Updates done, of all members together."""
    seconds: float
    """The trial's share of the time its members were trained in."""
    reason: str | None
    """One line on why it failed or was pruned; None if it is complete."""
    fitted: tuple[Fitted, ...] | None
    """What was kept of each member of fold 0, in the order of their seeds; of complete trials only.
    ``fitted[0].config`` is the trial's whole config, with the member's seed."""
    logs: tuple[list[dict[str, Any]], ...] = ()
    """The validation checks of each of these, as the lines of ``metrics.jsonl`` have them."""
