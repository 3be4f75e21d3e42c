"""The compiled steps of a stream: a forecast from windows, rows into the recurrent state, a forecast from that state.

Batches are filled up to a power of two, so that streams of any size and updates of any number of series share a few
programs. The weights are placed on the device once.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork, network_for
from lstmjax.training import Functional, Weights, functional
from lstmjax.window import Forecast, WindowBatch, lookback_features

MOST = 1024
"""Windows forecast together."""

MOST_STEPS = 64
"""Rows encoded together; longer stretches are encoded in parts."""

Carry = tuple[tuple[Float[np.ndarray, "B hidden"], Float[np.ndarray, "B hidden"]], ...]
"""The state of each layer, (c, h)."""


def require_stateful(config: RunConfig, network: UserNetwork | None) -> None:
    """Refuses to keep the state of a network whose forecast depends on more than its state.

    Raises:
        ConfigError: names the option.
    """
    model = config.model.chosen
    why = None
    if network is not None:
        why = "a network of your own reads whole windows"
    elif model.name != "direct":
        why = f"model.name is {model.name!r}, which reads whole windows: train with model.name direct"
    elif model.instance_norm != "none" or model.instance_scale != "none":
        why = (
            "the statistics of a window change with every row: train with model.instance_norm none and "
            "model.instance_scale none"
        )
    elif model.residual != "none":
        why = f"model.residual {model.residual!r} reads whole windows: train with model.residual none"
    if why is not None:
        raise ConfigError(f"a stateful stream cannot be kept: {why}; or use mode window")


class Programs:
    """The compiled steps, with the weights that forecast the future.

    Args:
        fitted: a trained forecaster.
        network: a network of the user's own; None for that of its config.
    """

    def __init__(self, fitted: Fitted, network: UserNetwork | None) -> None:
        self._network, _ = functional(network_for(network, fitted.config, fitted.spec))
        self._weights = jax.device_put(jax.tree.map(jnp.asarray, fitted.forecasting.weights), jax.devices()[0])
        # Looked up once: a network takes long to compare.
        self._forecast, self._encode, self._decode = (
            functools.partial(made(self._network), self._weights) for made in (_forecast, _encode, _decode)
        )

    def forecast(self, window: WindowBatch) -> Float[np.ndarray, "B H C 2"]:
        """Point forecasts and spreads of windows, in scaled units."""
        return _in_blocks(self._forecast, (window,))

    def encode(self, carry: Carry, window: WindowBatch, lengths: Int[np.ndarray, " B"]) -> Carry:
        """The state of each series after more rows.

        Args:
            carry: the state before.
            window: the rows, as a lookback.
            lengths: rows of each that count.
        """
        return _in_blocks(self._encode, (carry, window, lengths))

    def decode(self, carry: Carry, window: WindowBatch) -> Float[np.ndarray, "B H C 2"]:
        """As `forecast`, from the state; the window has no lookback."""
        return _in_blocks(self._decode, (carry, window))

    def first_carry(self, series: int) -> Carry:
        """The state before the first row."""
        encoder = jax.eval_shape(lambda weights: _carry_of(self._network, weights), self._weights)
        return jax.tree.map(lambda leaf: np.zeros((series, *leaf.shape[1:]), leaf.dtype), encoder)


def _carry_of(network: Functional, weights: Weights) -> Any:
    encoder: Any = network.merge(weights).encoder  # type: ignore[attr-defined]
    return encoder(jnp.zeros((1, 1, encoder.in_features)), return_carry=True, deterministic=True)[0]


def _read(forecast: Forecast) -> Float[Array, "B H C 2"]:
    return jnp.stack([forecast.point(), forecast.spread()], axis=-1)


@functools.lru_cache(maxsize=16)
def _forecast(network: Functional) -> Callable[..., Any]:
    return jax.jit(lambda weights, window: _read(network.forecast(weights, window)))


@functools.lru_cache(maxsize=16)
def _encode(network: Functional) -> Callable[..., Any]:
    def encode(weights: Weights, carry: Any, window: WindowBatch, lengths: Array) -> Any:
        module: Any = network.merge(weights)
        steps = lookback_features(window)
        options = {"initial_carry": carry, "seq_lengths": lengths, "deterministic": True}
        return module.encoder(steps, return_carry=True, return_sequence=False, **options)[0]

    return jax.jit(encode)


@functools.lru_cache(maxsize=16)
def _decode(network: Functional) -> Callable[..., Any]:
    def decode(weights: Weights, carry: Any, window: WindowBatch) -> Array:
        module: Any = network.merge(weights)
        return _read(module.decode(carry[-1][1], window, deterministic=True))

    return jax.jit(decode)


def _in_blocks(program: Callable[..., Any], arguments: Any) -> Any:
    """Runs a program on blocks of a batch, each filled up with its last row to a power of two."""
    count = len(jax.tree.leaves(arguments)[0])
    parts = []
    for first in range(0, count, MOST):
        size = min(MOST, count - first)
        filled = 1 << (size - 1).bit_length()
        block = arguments
        if count != filled:
            rows = np.minimum(np.arange(first, first + filled), first + size - 1)
            block = jax.tree.map(lambda leaf: leaf.take(rows, axis=0), arguments)  # noqa: B023
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:size], program(*block)))  # noqa: B023
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
