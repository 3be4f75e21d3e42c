"""Windows of the next steps, cut out of a panel on the host while the device works on those before.

Which windows a step learns from is a function of the member's seed and the step, as in `lstmjax.training.step`: so the
feed changes no byte, and needs no state in a checkpoint.
"""

import functools
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int, UInt32

from lstmjax.data.host_panel import HostPanel
from lstmjax.data.windows import Cut, Windows
from lstmjax.training.batch_order import batch_positions
from lstmjax.window import WindowSpec

MOST_BYTES, MOST_STEPS = 1 << 25, 256
"""Of the windows that are on the device at a time, twice."""

PARTS = PartitionSpec("member", None, "batch")
"""How `Fed` lies on the devices: by member, step (or block), and part of the batch."""


class Fed(NamedTuple):
    """Windows that were cut out on the host: leaves of the shape (members, steps, windows, ...)."""

    rows: Cut
    series: Int[Any, "*K S B"]
    """The series of each window."""
    counts: Bool[Any, "*K S B"] | None = None
    """Of validation: False for windows that only fill a block."""


def cut_windows(panel: HostPanel, windows: Windows, spec: WindowSpec, counts: np.ndarray | None = None) -> Fed:
    """Cuts windows out of a panel on the host. A function of the windows alone.

    Args:
        panel: the panel.
        windows: in any shape (...).
        spec: sizes of a window.
        counts: which of them count; None: all.

    Returns:
        NumPy arrays of the shape (..., values).
    """
    shape = np.shape(windows.series)
    flat = Windows(*(np.asarray(column).reshape(-1) for column in windows))
    rows = panel.cut(flat, input_size=spec.input_size, h=spec.h)
    whole: Cut = jax.tree.map(lambda array: array.reshape(*shape, *array.shape[1:]), rows)
    return Fed(whole, np.asarray(windows.series), counts)


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
        self._sharding = NamedSharding(mesh, PARTS)
        one = cut_windows(panel, Windows(*(np.asarray(column)[:1] for column in windows)), spec)
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
        windows = Windows(*(np.asarray(column)[chosen] for column in self._windows))
        return jax.device_put(cut_windows(self._panel, windows, self._spec), self._sharding)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _positions(seeds: Array, first: Array, counts: Array, batch_size: int, steps: int) -> Array:
    """The windows of each member in some steps, (K, S, B), by their place among the member's own."""

    def of_member(member: tuple[Array, Array]) -> Array:
        seed, count = member
        every = first + jnp.arange(steps, dtype=jnp.int32)
        return jax.lax.map(lambda step: batch_positions(seed, step, count, batch_size), every)

    return jax.lax.map(of_member, (seeds, counts))


def held_windows(
    panel: HostPanel,
    windows: Windows,
    counts: Bool[np.ndarray, " W"],
    first_block: Int[np.ndarray, " K"],
    block_count: Int[np.ndarray, " K"],
    block_size: int,
    spec: WindowSpec,
) -> Fed:
    """The validation windows of each member: (K, blocks, windows of a block, ...), NumPy.

    Args:
        panel: the panel.
        windows: all validation windows, in whole blocks.
        counts: False for those that only fill a block.
        first_block: (K,) where each member's blocks begin.
        block_count: (K,) how many each has; those with fewer get blocks that do not count.
        block_size: windows in a block.
        spec: sizes of a window.
    """
    blocks = np.arange(int(block_count.max()))
    own = blocks < block_count[:, None]  # (K, blocks)
    block = np.where(own, first_block[:, None] + blocks, 0)
    chosen = block[..., None] * block_size + np.arange(block_size)
    held = Windows(*(np.asarray(column)[chosen] for column in windows))
    return cut_windows(panel, held, spec, counts[chosen] & own[..., None])
