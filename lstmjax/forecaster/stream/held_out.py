"""What a stream knows of its errors before the first truth comes: those of held-out rows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lstmjax.data.frames import truth
from lstmjax.data.origins import test_windows
from lstmjax.data.panel import Panel
from lstmjax.data.scaling import scale
from lstmjax.data.split import Split
from lstmjax.data.unscaling import scale_targets
from lstmjax.evaluation.calibration import Errors
from lstmjax.evaluation.drift import calibrated
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.intervals import MOST_BYTES, parameters_of
from lstmjax.forecaster.network import UserNetwork, head_of, network_for
from lstmjax.forecaster.predict import aligned
from lstmjax.training import functional, predict

MOST_WINDOWS = 4096
"""Windows that are forecast where the forecaster has kept no errors."""

OWN = 100
"""Held-out windows from which a series has an alarm, and intervals, of its own; those of fewer are all series'."""


@dataclass(frozen=True)
class HeldOut:
    """Errors of W windows of held-out rows, by series and then time: above the median, in units of the spread."""

    signed: Float[np.ndarray, "W H C"]
    """NaN where the truth was missing."""
    series: Int[np.ndarray, " W"]
    """The place of each window's series among those trained on."""
    consecutive: bool
    """Whether the windows of a series begin one row after another."""

    @property
    def usual(self) -> Float[np.ndarray, "H C"]:
        """The mean absolute error of each step and target; NaN where there is none."""
        found = abs(self.signed)
        count = (~np.isnan(found)).sum(axis=0)
        mean = np.nansum(found, axis=0) / np.maximum(count, 1)
        return np.where((count > 0) & (mean > 0), mean, np.nan)

    def by_row(self, windows: np.ndarray) -> Float[np.ndarray, " T"]:
        """The errors of each row over the windows that forecast it, relative to the usual ones of their steps.

        Where windows are not consecutive, those of each window over its rows.

        Args:
            windows: numbers of the windows of one series.
        """
        relative = abs(self.signed[windows]) / self.usual  # (W, H, C)
        if self.consecutive:
            count, h, _ = relative.shape
            rows = np.full((count + h - 1, h, relative.shape[2]), np.nan)
            for step in range(h):
                rows[step : step + count, step] = relative[:, step]
            relative = rows[h - 1 : count] if count > 2 * h else rows  # where all steps are known
        known = (~np.isnan(relative)).sum(axis=(1, 2))
        return np.where(known > 0, np.nansum(relative, axis=(1, 2)) / np.maximum(known, 1), np.nan)

    def scores(self, number: int, most: int) -> Float[np.ndarray, "H C M"]:
        """Absolute errors to begin with, at most so many, evenly spaced in time; NaN at the end of shorter ones.

        Args:
            number: the series; those of all where it has fewer than `OWN` windows.
            most: M.
        """
        own = np.flatnonzero(self.series == number)
        chosen = own if len(own) >= OWN else np.arange(len(self.series))
        if len(chosen) > most:
            chosen = chosen[np.arange(most) * len(chosen) // most]
        found = np.full((*self.signed.shape[1:], most), np.nan)
        found[..., : len(chosen)] = np.moveaxis(abs(self.signed[chosen]), 0, -1)
        last = np.argsort(np.isnan(found), axis=-1, kind="stable")  # by time: the oldest are replaced first
        return np.take_along_axis(found, last, axis=-1)

    def alarms(self, numbers: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N 3"]:
        """Mean, deviation and threshold of the alarm of some series; those of all for one with few windows."""
        each: dict[int, tuple[float, float, float]] = {}
        pooled = None
        for number in np.unique(numbers).tolist():
            own = np.flatnonzero(self.series == number)
            if len(own) >= OWN:
                each[number] = calibrated([self.by_row(own)])
                continue
            if pooled is None:
                pooled = calibrated([self.by_row(np.flatnonzero(self.series == one)) for one in np.unique(self.series)])
            each[number] = pooled
        return np.array([each[number] for number in numbers.tolist()]).reshape(-1, 3)


def held_out(fitted: Fitted, network: UserNetwork | None, panel: Panel) -> HeldOut | None:
    """The errors of held-out rows: those that the forecaster has kept, or else of the last rows of a panel.

    Args:
        fitted: a trained forecaster.
        network: a network of the user's own; None for that of its config.
        panel: what the stream begins with. Where no errors were kept, the last windows of as many rows as training held
            out are forecast, if there are so many besides a lookback.

    Returns:
        None if there are no windows.
    """
    head, data = head_of(network, fitted.config, fitted.spec), fitted.config.data
    if fitted.errors is not None:
        errors = fitted.errors
        size = 4 * fitted.spec.h * fitted.spec.targets * (head.size + 1)
        whole = len(errors.y) < MOST_BYTES // size
        return HeldOut(errors.signed(head), errors.series.astype(np.int64), whole)
    rows = (data.val_size or 0) + data.calibration_size + (data.test_size or 0)
    rows = min(rows or 10 * data.h, data.h + max(1, MOST_WINDOWS // len(panel.ids)) - 1)
    first = np.minimum(np.maximum(panel.observed - rows, data.input_size), panel.observed)
    windows = test_windows(Split(first, first, first, panel.observed), h=data.h)
    if not len(windows.series):
        return None
    trained = aligned(fitted, fitted.selected, panel)
    structure, _ = functional(network_for(network, fitted.config, fitted.spec))
    arrays = scale(panel, trained.scaling)
    parameters = predict(structure, trained.weights, arrays, windows, fitted.spec, read=parameters_of)
    series = np.asarray(windows.series)
    y = scale_targets(truth(panel, windows, data.h), series, trained.scaling)
    errors = Errors(y.astype(np.float32), parameters, series)
    return HeldOut(errors.signed(head), trained.scaling.series[series], True)
