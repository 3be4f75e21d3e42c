"""Sums of errors over windows, added up part by part: what the metrics of every group are made of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from lstmjax.evaluation.intervals import Asked, level_name
from lstmjax.evaluation.metrics import METRICS
from lstmjax.evaluation.probabilistic import INTERVAL_METRICS, QUANTILE_METRICS, crps
from lstmjax.evaluation.table import metric_names

Key = tuple[str, str]
"""A model and the name of its errors."""

_COUNT, _SIZE = ("", "count"), ("", "size")
"""Of observed truths: how many there are, and their absolute values."""


@dataclass(frozen=True)
class Part:
    """Some of the windows that are evaluated, with their forecasts."""

    series: Int[np.ndarray, " W"]
    """Ascending, also from part to part."""
    y: Float[np.ndarray, "W H C"]
    forecasts: Mapping[str, Float[np.ndarray, "W H C"]]
    """By model."""
    quantiles: Mapping[str, Float[np.ndarray, "W H C K"]]
    """At ``asked.probabilities``, of the models that have them."""


@dataclass
class Sums:
    """Sums over the observed truths of G groups.

    Attributes:
        errors: by group and target.
        scaled: the sum and the number of the mean errors of each series and target, in units of their scale, by group.
    """

    errors: dict[Key, Float[np.ndarray, "G C"]]
    scaled: dict[Key, Float[np.ndarray, "2 G"]]

    @classmethod
    def zeros(cls, groups: int, channels: int) -> Self:
        """Of no windows."""
        return cls(defaultdict(lambda: np.zeros((groups, channels))), defaultdict(lambda: np.zeros((2, groups))))

    def metrics(self, model: str, asked: Asked) -> dict[str, Float[np.ndarray, " G"]]:
        """The metrics of a model by group, as `lstmjax.evaluation.table.metrics_by_group` has them."""
        found = {}
        for name, metric in METRICS.items():
            key = model, _errors(name)
            found[name] = metric.finish(self._scaled_mean(key) if metric.seasonal else self._mean(key))
        key, names = (model, "crps"), metric_names(asked)[len(METRICS) :]
        if key not in self.errors:
            return found | {name: np.full(len(self.count), np.nan) for name in names}
        scores = {None: self._mean(key), "series": self._scaled_mean(key), "target": self._mean_by_size(key)}
        found |= {name: scores[metric.scale] for name, metric in QUANTILE_METRICS.items()}
        return found | {name: self._mean((model, name)) for name in names if name not in QUANTILE_METRICS}

    @property
    def count(self) -> Int[np.ndarray, " G"]:
        """Observed truths of each group."""
        return self.errors[_COUNT].sum(axis=1).astype(int)

    def _mean(self, key: Key) -> np.ndarray:
        return _ratio(self.errors[key].sum(axis=1), self.count)

    def _scaled_mean(self, key: Key) -> np.ndarray:
        return np.where(np.isnan(self._mean(key)), np.nan, _ratio(*self.scaled[key]))

    def _mean_by_size(self, key: Key) -> np.ndarray:
        """The mean error in units of the mean absolute truth of each target, averaged over targets."""
        kept = self.errors[_SIZE] > 0
        ratios = np.where(kept, self.errors[key] / np.where(kept, self.errors[_SIZE], 1), 0)
        return np.where(np.isnan(self._mean(key)), np.nan, _ratio(ratios.sum(axis=1), kept.sum(axis=1)))


class Totals:
    """The sums of all parts.

    Args:
        parts: from the first window to the last.
        scales: (N, C) the scales of MASE.
        asked: the intervals and quantiles.
        horizon: steps ahead.
        cutoffs: (W,) the number of each window's cutoff. Default: there are no sums by cutoff.

    Attributes:
        below: of each model that has quantiles, how many truths are at or below each; NaN where one is missing.
    """

    def __init__(
        self,
        parts: Iterable[Part],
        scales: Float[np.ndarray, "N C"],
        asked: Asked,
        *,
        horizon: int,
        cutoffs: Int[np.ndarray, " W"] | None = None,
    ) -> None:
        self._scales, self._asked = scales, asked
        self._by_series, self._by_horizon = Sums.zeros(*scales.shape), Sums.zeros(horizon, scales.shape[1])
        self._cutoffs = 0 if cutoffs is None else int(cutoffs.max(initial=-1)) + 1
        self._by_cutoff = Sums.zeros(self._cutoffs, scales.shape[1])
        self._open: tuple[np.ndarray, dict[Key, np.ndarray]] = np.empty(0, int), {}
        self.below: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(asked.probabilities)))
        begin = 0
        for part in parts:
            end = begin + len(part.series)
            self._add(part, None if cutoffs is None else cutoffs[begin:end])
            begin = end
        self._scale_steps(*self._open)

    def of(self, what: str | None) -> Sums:
        """The sums by ``series`` (all N), ``target``, ``horizon``, ``cutoff``, or over all."""
        if what in ("horizon", "cutoff"):
            return self._by_horizon if what == "horizon" else self._by_cutoff
        errors = self._by_series.errors
        scaled = {key: _scaled(errors[key], errors[_COUNT], self._scales) for key in errors if _is_scaled(key)}
        if what == "series":
            return Sums(errors, {key: each.sum(axis=-1) for key, each in scaled.items()})
        total = {key: each.sum(axis=0) for key, each in errors.items()}
        if what == "target":
            by_target = {key: each.sum(axis=1) for key, each in scaled.items()}
            return Sums({key: each[:, None] for key, each in total.items()}, by_target)
        over_all = {key: each.sum(axis=(1, 2))[:, None] for key, each in scaled.items()}
        return Sums({key: each[None] for key, each in total.items()}, over_all)

    def mean_in(self, key: Key, unit: Float[np.ndarray, "N C"]) -> float:
        """The mean error over all, each in units of its series and target."""
        errors = self._by_series.errors
        return float(_ratio((errors[key] / unit).sum(), errors[_COUNT].sum()))

    def _add(self, part: Part, cutoff: np.ndarray | None) -> None:
        if not len(part.series):
            return
        begins = np.flatnonzero(np.diff(part.series, prepend=-1))
        series, steps = part.series[begins], {}
        windows = {}
        for key, values in self._values(part):
            by_step = np.add.reduceat(values, begins, axis=0)  # (S, H, C)
            self._by_series.errors[key][series] += by_step.sum(axis=1)
            self._by_horizon.errors[key] += by_step.sum(axis=0)
            if _is_scaled(key) or key == _COUNT:
                steps[key] = by_step
            if cutoff is not None:
                windows[key] = values.sum(axis=1)  # (W, C)
        if cutoff is not None:
            self._add_by_cutoff(part.series, windows, cutoff)
        before, open_steps = self._open
        if len(before) and before[0] == series[0]:  # the series goes on
            for key, by_step in steps.items():
                by_step[0] += open_steps[key][0]
        else:
            self._scale_steps(before, open_steps)
        self._scale_steps(series[:-1], {key: by_step[:-1] for key, by_step in steps.items()})
        self._open = series[-1:], {key: by_step[-1:] for key, by_step in steps.items()}

    def _add_by_cutoff(self, series: np.ndarray, windows: dict[Key, np.ndarray], cutoff: np.ndarray) -> None:
        for key, values in windows.items():
            self._by_cutoff.errors[key] += _added(values, cutoff, self._cutoffs)
            if _is_scaled(key):
                each = _scaled(values, windows[_COUNT], self._scales[series]).sum(axis=-1)
                self._by_cutoff.scaled[key] += _added(each.T, cutoff, self._cutoffs).T

    def _scale_steps(self, series: np.ndarray, steps: dict[Key, np.ndarray]) -> None:
        """Adds to the scaled errors by step ahead those of series that are complete."""
        for key, by_step in steps.items():
            if key != _COUNT:
                each = _scaled(by_step, steps[_COUNT], self._scales[series][:, None])
                self._by_horizon.scaled[key] += each.sum(axis=(1, 3))

    def _values(self, part: Part) -> Iterator[tuple[Key, Float[np.ndarray, "W H C"]]]:
        """The errors of every truth, 0 where it is missing."""
        y, asked, observed = part.y, self._asked, ~np.isnan(part.y)
        yield _COUNT, observed.astype(float)
        yield _SIZE, np.where(observed, abs(y), 0)
        at = {probability: number for number, probability in enumerate(asked.probabilities)}
        for model, forecast in part.forecasts.items():
            for name in dict.fromkeys(map(_errors, METRICS)):
                yield (model, name), np.where(observed, METRICS[name].error(y, forecast), 0)
            if model not in part.quantiles:
                continue
            quantiles = part.quantiles[model]
            score = crps(y, quantiles[..., [at[one] for one in asked.scored]], asked.scored)
            yield (model, "crps"), np.where(observed, score, 0)
            for level, (lower, upper) in asked.intervals.items():
                for name, metric in INTERVAL_METRICS.items():
                    value = metric.value(y, quantiles[..., at[lower]], quantiles[..., at[upper]], level)
                    yield (model, level_name(name, level)), np.where(observed, value, 0)
            below = np.where(np.isnan(quantiles), np.nan, y[..., None] <= quantiles)
            self.below[model] += below[observed].sum(axis=0)


def _errors(metric: str) -> str:
    """The name of the first metric with the same errors: their sums are the same."""
    return next(name for name, other in METRICS.items() if other.error is METRICS[metric].error)


def _is_scaled(key: Key) -> bool:
    """Whether there is a mean of the errors in units of the scale of each series and target."""
    return key[1] in ("crps", *(_errors(name) for name, metric in METRICS.items() if metric.seasonal))


def _ratio(total: Any, number: Any) -> Any:
    """``total / number``; NaN where the number is 0."""
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _scaled(total: np.ndarray, count: np.ndarray, scale: np.ndarray) -> Float[np.ndarray, "2 ..."]:
    """Mean errors in units of their scale, and 1 for each; 0 and 0 where there is none."""
    kept = (count > 0) & (scale > 0)  # not of NaN
    return np.stack([np.where(kept, total / np.where(kept, count * scale, 1), 0), kept])


def _added(values: Float[np.ndarray, "W C"], group: np.ndarray, groups: int) -> Float[np.ndarray, "G C"]:
    """The sum of the rows of each group."""
    return np.stack([np.bincount(group, column, minlength=groups) for column in values.T], axis=1)
