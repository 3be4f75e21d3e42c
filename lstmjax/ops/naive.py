"""The naive forecasts: repeat the last value, or the last season. Networks can learn the difference to them."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def repeat_last(y: Float[Array, "B L C"], y_mask: Bool[Array, "B L C"], h: int) -> Float[Array, "B h C"]:
    """Repeats the last observed value at every step.

    Args:
        y: past values, shape (batch, L, C).
        y_mask: True where they were observed.
        h: steps to forecast.

    Returns:
        Array of shape (batch, h, C); 0 where nothing was observed.

    >>> import jax.numpy as jnp
    >>> y = jnp.array([[[1.0], [2.0], [9.0]]])
    >>> repeat_last(y, jnp.array([[[True], [True], [False]]]), h=2)[0, :, 0].tolist()
    [2.0, 2.0]
    """
    return jnp.repeat(last_observed(y, y_mask), h, axis=1)


def seasonal_naive(
    y: Float[Array, "B L C"], y_mask: Bool[Array, "B L C"], h: int, season_length: int
) -> Float[Array, "B h C"]:
    """Repeats the value one season before; if missing, that of the nearest earlier season, else the last observed.

    Args:
        y: past values, shape (batch, L, C).
        y_mask: True where they were observed.
        h: steps to forecast; after one season the same season is repeated.
        season_length: steps in one season.

    Returns:
        Array of shape (batch, h, C); 0 where nothing was observed.

    References:
        Hyndman and Athanasopoulos, *Forecasting: Principles and Practice*, 3rd edition, section 5.2.

    >>> import jax.numpy as jnp
    >>> y = jnp.arange(5.0).reshape(1, 5, 1)
    >>> seasonal_naive(y, jnp.ones_like(y, bool), h=3, season_length=2)[0, :, 0].tolist()
    [3.0, 4.0, 3.0]
    """
    batch, length, channels = y.shape
    lead = -length % season_length  # whole seasons that end with the last row
    seasons = (batch, (lead + length) // season_length, season_length, channels)
    y_seasons = jnp.pad(y, ((0, 0), (lead, 0), (0, 0))).reshape(seasons)  # (B, seasons, season_length, C)
    mask_seasons = jnp.pad(y_mask, ((0, 0), (lead, 0), (0, 0))).reshape(seasons)
    season = last_observed(y_seasons, mask_seasons)[:, 0]  # (B, season_length, C)
    season = jnp.where(mask_seasons.any(axis=1), season, last_observed(y, y_mask))
    return jnp.take(season, jnp.arange(h) % season_length, axis=1)


def last_observed(y: Array, mask: Array) -> Array:
    """Returns the last value along axis 1 where the mask is True, else 0; axis 1 has length 1."""
    index = y.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1, keepdims=True)
    value = jnp.take_along_axis(y, index, axis=1)
    return jnp.where(mask.any(axis=1, keepdims=True), value, 0)
