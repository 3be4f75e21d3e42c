"""Deprecated: `lstmjax.forecaster.resume` is its new place."""

import warnings

from lstmjax.forecaster.resume import take_member as take_member

warnings.warn(
    "lstmjax.resume.take_member is now lstmjax.forecaster.resume.take_member", DeprecationWarning, stacklevel=2
)
