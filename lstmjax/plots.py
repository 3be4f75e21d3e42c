"""Deprecated: `lstmjax.evaluation.plots` is its new place."""

import warnings

from lstmjax.evaluation.plots import *  # noqa: F403

warnings.warn("lstmjax.plots is now lstmjax.evaluation.plots", DeprecationWarning, stacklevel=2)
