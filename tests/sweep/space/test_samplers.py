"""Draws: functions of (seed, number) alone, spread as their distributions say."""

import numpy as np
import pytest

from lstmjax.sweep import Space, draw

SPACE = Space.from_dict(
    {
        "optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
        "optimizer.weight_decay": {"type": "uniform", "low": 0.0, "high": 1.0},
        "model.hidden_size": {"type": "choice", "values": [32, 64, 128]},
        "model.num_layers": {"type": "int", "low": 1, "high": 3},
        "train.batch_size": 16,
    }
)


def rates(points):
    return np.array([np.log10(point["optimizer.learning_rate"]) for point in points])


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_draw_depends_on_seed_and_number_alone(sampler):
    forwards = [draw(SPACE, sampler, 3, number, block=4) for number in range(12)]
    backwards = [draw(SPACE, sampler, 3, number, block=4) for number in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert len(set(rates(forwards))) == 12
    other = [draw(SPACE, sampler, 4, number, block=4) for number in range(12)]
    assert not set(rates(forwards)) & set(rates(other))
    assert {point["train.batch_size"] for point in forwards} == {16}


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_block_shares_what_is_compiled_in(sampler):
    points = [draw(SPACE, sampler, 0, number, block=8) for number in range(64)]
    shapes = [(point["model.hidden_size"], point["model.num_layers"]) for point in points]
    for first in range(0, 64, 8):
        assert len(set(shapes[first : first + 8])) == 1
    assert len(set(shapes)) > 2


@pytest.mark.parametrize(("sampler", "tolerance"), [("random", 0.15), ("sobol", 0.02)])
def test_draws_fill_the_space(sampler, tolerance):
    """Largest distance of the draws' distribution function from the uniform one; Sobol's points are spread evenly."""
    points = [draw(SPACE, sampler, 1, number) for number in range(128)]
    for quantiles in ((rates(points) + 4) / 2, [point["optimizer.weight_decay"] for point in points]):
        gap = np.abs(np.sort(quantiles) - (np.arange(128) + 0.5) / 128).max()
        assert gap < tolerance
    sizes = [point["model.hidden_size"] for point in points]
    assert all(abs(sizes.count(size) - 128 / 3) < (20 if sampler == "random" else 3) for size in (32, 64, 128))


def test_a_grid_is_drawn_in_its_order():
    grid = Space.from_dict({"model.hidden_size": {"type": "choice", "values": [8, 16, 32]}})
    assert [draw(grid, "grid", 5, number) for number in range(3)] == grid.grid()
    with pytest.raises(IndexError):
        draw(grid, "grid", 5, 3)
