"""Windows of the next steps, cut out of a panel on the host while the device works on those before.

Which windows a step learns from is a function of the member's seed and the step, as in `lstmjax.training.step`: so the
feed changes no byte, and needs no state in a checkpoint.
"""

import functools
import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int, UInt32

from lstmjax.data.host_panel import HostPanel
from lstmjax.data.windows import PanelArrays, Rescaling, Windows, gather
from lstmjax.parallel import place_made
from lstmjax.training.batch_order import batch_positions
from lstmjax.window import Target, WindowBatch, WindowSpec

MOST_BYTES, MOST_STEPS = 1 << 25, 256
"""Of the windows that are on the device at a time, twice."""

PARTS = PartitionSpec("member", "batch")
"""How `Fed` lies on the devices: by member and part of the batch."""


class Fed(NamedTuple):
    """Windows of S steps (or blocks) that were cut out on the host, b of each for every part P of the batch.

    Leaves have the leading axes (members, parts).
    """

    arrays: PanelArrays
    """A small panel: series s * b + i is window i of step s."""
    windows: Windows
    """(S * b,) all windows of the small panel."""
    series: Int[Any, "*K Sb"]
    """(S * b,) the series of each window in the whole panel."""

    def gather(
        self, place: Array, size: int, spec: WindowSpec, rescaling: Rescaling | None = None
    ) -> tuple[WindowBatch, Target]:
        """A part's windows of a step, for use inside jit; the leaves are those of one member and part.

        Args:
            place: of the step among those that are fed.
            size: b, windows of a step.
            spec: sizes of a window.
            rescaling: see `lstmjax.data.windows.gather`.
        """
        windows, series = jax.tree.map(
            lambda column: lax.dynamic_slice_in_dim(column, place * size, size), (self.windows, self.series)
        )
        sizes: dict[str, Any] = {"input_size": spec.input_size, "h": spec.h, "rescaling": rescaling}
        return gather(self.arrays, windows, **sizes, series=series)


def cut_windows(panel: HostPanel, windows: Windows, spec: WindowSpec, parts: int) -> Fed:
    """Cuts windows out of a panel on the host. A function of the windows alone.

    Args:
        panel: the panel.
        windows: of the shape (..., S, B): the B windows of each of S steps.
        spec: sizes of a window.
        parts: P, into which each batch is split.

    Returns:
        NumPy arrays with the leading axes (..., P).
    """

    def by_part(column: Any) -> np.ndarray:
        *leading, steps, size = np.shape(column)
        return np.moveaxis(np.reshape(column, (*leading, steps, parts, size // parts)), -2, -3)  # (..., P, S, b)

    whole = Windows(*map(by_part, windows))
    *leading, steps, size = whole.series.shape
    fed = cut_all(panel, Windows(*(column.reshape(-1) for column in whole)), spec)
    groups, count = math.prod(leading), steps * size
    place = np.tile(np.asarray(fed.windows.series)[:count], groups)
    offsets = np.tile(np.asarray(fed.arrays.offsets)[: count + 1], groups)
    fed = fed._replace(arrays=fed.arrays._replace(offsets=offsets), windows=fed.windows._replace(series=place))
    grouped: Fed = jax.tree.map(lambda leaf: leaf.reshape(*leading, len(leaf) // groups, *leaf.shape[1:]), fed)
    return grouped


def cut_all(panel: HostPanel, windows: Windows, spec: WindowSpec) -> Fed:
    """Cuts windows (W,) out of a panel on the host, for all members and parts: NumPy arrays without leading axes."""
    arrays = panel.part(windows, input_size=spec.input_size, h=spec.h)
    place = np.arange(len(windows.series), dtype=np.int32)
    small = Windows(place, np.full_like(place, spec.input_size))
    return Fed(arrays, small, np.asarray(windows.series, np.int32))


def of_part(fed: Fed | None) -> Fed | None:
    """What was cut out for this device's part of the batch, inside the mapping over members."""
    return None if fed is None else jax.tree.map(lambda leaf: leaf[0], fed)


class Chunk(NamedTuple):
    """The windows of the steps from ``first`` up to ``stop``."""

    first: int
    stop: int
    fed: Fed
    """On the devices."""


class HostFeed:
    """Gives a training loop the windows of its next steps. Its thread ends when it is collected.

    Args:
        panel: the panel.
        windows: all training windows.
        seeds: (K, 2) of the members, as `lstmjax.training.hyperparameters.Hyperparameters.seed`.
        first_window: (K,) where each member's windows begin among them.
        window_count: (K,) how many each has.
        batch_size: windows in a batch.
        spec: sizes of a window.
        mesh: the devices.
        last: the step at which training ends.
    """

    def __init__(
        self,
        panel: HostPanel,
        windows: Windows,
        seeds: UInt32[np.ndarray, "K 2"],
        first_window: Int[np.ndarray, " K"],
        window_count: Int[np.ndarray, " K"],
        batch_size: int,
        spec: WindowSpec,
        mesh: Mesh,
        last: int,
    ) -> None:
        self._panel, self._windows, self._spec = panel, windows, spec
        self._members = seeds, first_window, window_count
        self._batch_size, self._last = batch_size, last
        self._mesh = mesh
        one = cut_windows(panel, Windows(*(np.asarray(column)[:1, None] for column in windows)), spec, 1)
        size = len(seeds) * batch_size * sum(leaf.nbytes for leaf in jax.tree.leaves(one))
        self.steps = min(max(1, MOST_BYTES // size), MOST_STEPS)
        """Steps of a chunk."""
        self._pool = ThreadPoolExecutor(1, "lstmjax-feed")
        self._next: tuple[int, Future[Fed]] | None = None
        self._chunk: Chunk | None = None

    def at(self, step: int) -> Chunk:
        """The chunk that holds a step; the one after it is begun."""
        if self._chunk is None or not self._chunk.first <= step < self._chunk.stop:
            if self._next is None or self._next[0] != step:
                self._begin(step)
            assert self._next is not None
            first, found = self._next
            self._chunk, self._next = None, None  # its memory is free before the next one takes more
            self._chunk = Chunk(first, first + self.steps, found.result())
            if self._chunk.stop < self._last:
                self._begin(self._chunk.stop)
        return self._chunk

    def _begin(self, step: int) -> None:
        # Which windows they are is computed by this thread, before the device is given its next work.
        seeds, first_window, window_count = self._members
        positions = _positions(seeds, np.int32(step), window_count, self._batch_size, self.steps)
        chosen = np.asarray(positions) + first_window[:, None, None]  # (K, S, B)
        self._next = step, self._pool.submit(self._gather, chosen)

    def _gather(self, chosen: Int[np.ndarray, "K S B"]) -> Fed:
        parts = self._mesh.shape["batch"]
        size = self._batch_size // parts

        def cut(members: slice, own: slice) -> Fed:
            some = chosen[members, :, own.start * size : own.stop * size]
            windows = Windows(*(np.asarray(column)[some] for column in self._windows))
            return cut_windows(self._panel, windows, self._spec, own.stop - own.start)

        # Of several processes each reads the windows of its own devices.
        fed: Fed = place_made(cut, (len(chosen), parts), tuple(PARTS), self._mesh)
        return fed


@functools.partial(jax.jit, static_argnums=(3, 4))
def _positions(seeds: Array, first: Array, counts: Array, batch_size: int, steps: int) -> Array:
    """The windows of each member in some steps, (K, S, B), by their place among the member's own."""

    def of_member(member: tuple[Array, Array]) -> Array:
        seed, count = member
        every = first + jnp.arange(steps, dtype=jnp.int32)
        return jax.lax.map(lambda step: batch_positions(seed, step, count, batch_size), every)

    return jax.lax.map(of_member, (seeds, counts))
