"""Each head recovers its own distribution, whose location and spread change with a covariate."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lstmjax import RunConfig, fit_seeds

pytestmark = pytest.mark.slow

ROWS, TEST = 24_000, 2_000
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
CONFIG = RunConfig().replace(
    {
        "data.h": 1,
        "data.input_size": 2,
        "data.futr_exog": ("x",),
        "data.season_length": 1,
        "data.val_size": 2_000,
        "data.test_size": TEST,
        "data.scaler": "auto",
        "model.name": "direct",
        "model.hidden_size": 8,
        "model.head_size": 32,
        "model.instance_norm": "none",
        "model.instance_scale": "none",
        "model.quantiles": LEVELS,
        "optimizer.learning_rate": 5e-3,
        "train.batch_size": 512,
        "train.max_steps": 1_500,
        "train.early_stop_patience_steps": -1,
        "outputs.quantiles": LEVELS,
    }
)


def normal(x):
    return scipy.stats.norm(10 + 3 * np.sin(3 * x), np.exp(0.8 * x))


def student(x):
    return scipy.stats.t(4.0, 10 + 3 * np.sin(3 * x), np.exp(0.8 * x))


def counts(x):
    mean, dispersion = np.exp(2.0 + x), 0.3
    return scipy.stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))


@pytest.mark.parametrize(
    ("head", "truth"),
    [("normal", normal), ("student_t", student), ("negative_binomial", counts), ("quantile", normal)],
)
def test_fitted_quantiles_have_their_probability(head, truth):
    """Within 0.02, the mean of three seeds, over 200,000 draws of the true distribution: 100 at each of 2,000 rows."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, ROWS)
    table = pd.DataFrame({"ds": np.arange(ROWS), "x": x, "y": truth(x).rvs(random_state=random).astype(float)})
    config = CONFIG.replace({"model.head": head})
    # Without a trend over the horizon every row is a fresh draw; its x is known ahead.
    found = [member.evaluate(table) for member in fit_seeds(config, table, seeds=[0, 1, 2])]
    draws = truth(x[-TEST:, None]).rvs(size=(TEST, 100), random_state=random)
    for level in LEVELS:
        fitted = [one[f"lstm_ql{level:g}"].to_numpy()[:, None] for one in found]
        below = [(draws < f).mean() for f in fitted], [(draws <= f).mean() for f in fitted]
        low, high = (float(np.mean(side)) for side in below)  # they differ where counts are ties
        assert low - 0.02 <= level <= high + 0.02, (head, level, low, high)
        # And so where the spread is small and where it is large, which a constant spread could not.
        for half in (x[-TEST:] < 0, x[-TEST:] >= 0):
            low, high = (
                float(np.mean([side(draws[half], f[half]).mean() for f in fitted])) for side in (np.less, np.less_equal)
            )
            assert low - 0.03 <= level <= high + 0.03, (head, level, low, high)
