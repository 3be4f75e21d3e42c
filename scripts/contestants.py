"""Who takes part in `bench_lstm.py`, each in a process of its own, set up as its users have it.

- lstmjax: `lstmjax.nn.LSTM` after `lstmjax.configure_devices()`, the batch split over one XLA CPU device a core and the
  gradients summed, as training does. On an accelerator, one device.
- flax: `nnx.RNN(nnx.OptimizedLSTMCell)`, `jax.jit` of the gradient, one device.
- torch: `torch.nn.LSTM(batch_first=True)`, on as many threads as there are cores; on a GPU, where lstmjax runs on one,
  by NVIDIA's kernel.
- cudnn: `lstmjax.nn.LSTM(implementation="cudnn")`, the same kernel. GPU only.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from lstmjax import parallel
from lstmjax.nn import LSTM, to_torch
from lstmjax.parallel import cores

Shape = tuple[int, int, int, int]
"""(B, T, I, H)."""
PASSES = ("forward", "forward+backward")

SECONDS_A_TURN = 0.25
"""So many calls that the first ones, for which the system has yet to place the threads, count for little."""
SECONDS_OF_REST = 0.05
"""Longer than threads of OpenMP spin when they find nothing to do."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to compute the layer, for one shape."""

    passes: dict[str, Callable[[], Any]]
    """Calls that end when the pass has."""
    outputs: Callable[[], np.ndarray]
    memory: Callable[[str], float | None]
    """Bytes that a pass needs."""


def inputs(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The layer's inputs (B, T, I), and the factors of its outputs (B, T, H) in the loss."""
    B, T, I, H = shape  # noqa: E741 - the papers' letters
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(B, T, features)).astype(np.float32) for features in (I, H))


def own(shape: Shape) -> Contestant:
    """This layer."""
    layer = _layer(shape)
    return _compiled(
        layer, shape, shards=parallel.resolve_batch_shards(shape[0], widest=layer.cell.recurrent_kernel[...].nbytes)
    )


def cudnn(shape: Shape) -> Contestant:
    """This layer on NVIDIA's kernel."""
    return _compiled(_layer(shape, implementation="cudnn"), shape)


def flax(shape: Shape) -> Contestant:
    """Flax's layer with the same weights."""
    layer = _layer(shape)
    cell = nnx.OptimizedLSTMCell(layer.cell.in_features, layer.cell.hidden_features, rngs=nnx.Rngs(0))
    cell.dense_i.kernel[...] = layer.cell.kernel[...]
    cell.dense_h.kernel[...] = layer.cell.recurrent_kernel[...]
    cell.dense_h.bias[...] = layer.cell.bias[...]
    carry = layer.cell.initialize_carry((shape[0], shape[2]))  # or Flax would want a stream of random numbers
    return _compiled(nnx.RNN(cell), shape, initial_carry=carry)


def torch(shape: Shape) -> Contestant:
    """PyTorch's layer with the same weights."""
    import torch

    torch.set_num_threads(cores())
    device = _torch_device()
    module = torch.nn.LSTM(shape[2], shape[3], batch_first=True)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(_layer(shape)).items()})
    module = module.to(device)
    x, factor = (torch.from_numpy(array).to(device) for array in inputs(shape))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def forward() -> torch.Tensor:
        with torch.no_grad():
            ys = module(x)[0]
        wait()
        return ys

    def gradient() -> None:
        module.zero_grad(set_to_none=True)
        torch.sum(module(x)[0] * factor).backward()
        wait()

    def memory(name: str) -> float | None:
        if device == "cpu":
            return resident_growth(passes[name])
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        passes[name]()
        return torch.cuda.max_memory_allocated() - before

    passes = dict(zip(PASSES, (forward, gradient), strict=True))
    return Contestant(passes, lambda: forward().cpu().numpy(), memory)


def _torch_device() -> str:
    """Where PyTorch runs: on a GPU if JAX does too."""
    import torch

    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


CONTESTANTS: dict[str, Callable[[Shape], Contestant]] = {
    "lstmjax": own,
    "flax": flax,
    "torch": torch,
    "cudnn": cudnn,
}


class Process:
    """A contestant in a process of its own, so that nobody's threads, allocator or devices are another's.

    Args:
        name: key of `CONTESTANTS`.
        keep_memory: set a peer's process as `lstmjax.configure_devices` sets lstmjax's: it keeps freed memory, and is
            scheduled as a batch job.
    """

    def __init__(self, name: str, *, keep_memory: bool) -> None:
        self._name = name
        self._pool = own_process(_set_up, name, keep_memory)

    def platform(self) -> str:
        """What JAX runs on there."""
        return self._pool.submit(jax.default_backend).result()

    def outputs(self, shape: Shape) -> np.ndarray:
        """What the layer puts out."""
        return self._pool.submit(_outputs, self._name, shape).result()

    def memory(self, shape: Shape, of: str) -> float | None:
        """Bytes that a pass needs beyond its arguments."""
        return self._pool.submit(_memory, self._name, shape, of).result()

    def seconds(self, shape: Shape, of: str) -> float:
        """One turn."""
        return self._pool.submit(_seconds_of_pass, self._name, shape, of).result()

    def product_seconds(self, size: int) -> float:
        """One turn of the product of two (size, size) matrices, one on every device or on all threads."""
        return self._pool.submit(_seconds_of_product, self._name, size).result()

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown()


def own_process(set_up: Callable[..., None] | None = None, *arguments: Any) -> concurrent.futures.Executor:
    """A fresh process that runs what is submitted to it, one after the other, after a set-up."""
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(1, context, initializer=set_up, initargs=arguments)


def seconds(call: Callable[[], Any]) -> float:
    """Of one call, from as many as fill a turn, after a rest and one call that is not measured."""
    time.sleep(SECONDS_OF_REST)
    call()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS_A_TURN or count == 0:
        call()
        count += 1
    return elapsed / count


def resident_growth(call: Callable[[], Any]) -> float | None:
    """Bytes by which the process's resident set grows at most during a call, on Linux; None elsewhere."""
    try:
        import ctypes

        call()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the highest mark
        before = _proc_status("VmRSS")
        call()
        return _proc_status("VmHWM") - before
    except OSError:
        return None


def _set_up(name: str, keep_memory: bool) -> None:
    if name == "lstmjax":
        parallel.configure_devices()
    elif keep_memory:
        parallel.keep_freed_memory()
        parallel.schedule_as_batch()


@functools.lru_cache(maxsize=1)
def _contestant(name: str, shape: Shape) -> Contestant:
    return CONTESTANTS[name](shape)


def _outputs(name: str, shape: Shape) -> np.ndarray:
    return _contestant(name, shape).outputs()


def _memory(name: str, shape: Shape, of: str) -> float | None:
    return _contestant(name, shape).memory(of)


def _seconds_of_pass(name: str, shape: Shape, of: str) -> float:
    return seconds(_contestant(name, shape).passes[of])


@functools.lru_cache(maxsize=1)
def _product(name: str, size: int) -> Callable[[], Any]:
    if name == "torch":
        import torch

        torch.set_num_threads(cores())
        stacked, matrix = (torch.ones(rows * size, size, device=_torch_device()) for rows in (_torch_products(), 1))
        wait = torch.cuda.synchronize if _torch_device() == "cuda" else lambda: None
        return lambda: (stacked @ matrix, wait())
    mesh, rows = parallel.make_mesh(batch_shards=jax.device_count()), PartitionSpec("batch")
    ones = np.ones((jax.device_count() * size, size), np.float32)
    matrices = jax.device_put(ones, jax.NamedSharding(mesh, rows))
    product = jax.jit(jax.shard_map(lambda a: a @ a, mesh=mesh, in_specs=rows, out_specs=rows))
    return lambda: jax.block_until_ready(product(matrices))


def _seconds_of_product(name: str, size: int) -> float:
    """Of the products of as many matrices as there are devices or threads, for one of them."""
    return seconds(_product(name, size)) / (_torch_products() if name == "torch" else jax.device_count())


def _torch_products() -> int:
    """Products that PyTorch computes at once: one per core, or one on a GPU."""
    return cores() if _torch_device() == "cpu" else 1


def _layer(shape: Shape, **options: Any) -> LSTM:
    return LSTM(shape[2], shape[3], rngs=nnx.Rngs(0), **options)


def _compiled(module: nnx.Module, shape: Shape, *, shards: int = 1, **keywords: Any) -> Contestant:
    """A Flax module, called with some keywords, its batch split over devices, compiled ahead of time."""
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    mesh = parallel.make_mesh(batch_shards=shards)
    rows, all_of_it = PartitionSpec("batch"), PartitionSpec()

    def forward(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, params, rest)(x, **keywords)

    def gradient(params: Any, x: jax.Array, factor: jax.Array) -> Any:
        gradients = jax.grad(lambda params: jnp.sum(forward(params, x) * factor))(params)
        return parallel.sum_over_batch(gradients) if shards > 1 else gradients

    def over_shards(function: Callable, in_specs: tuple, out_specs: PartitionSpec) -> Callable:
        if shards > 1:
            function = jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
        return jax.jit(function)

    place = (lambda tree, spec: jax.device_put(tree, jax.NamedSharding(mesh, spec))) if shards > 1 else jax.device_put
    x, factor = (place(array, *([rows] if shards > 1 else [])) for array in inputs(shape))
    params = place(params, *([all_of_it] if shards > 1 else []))
    arguments = dict(zip(PASSES, ((params, x), (params, x, factor)), strict=True))
    programs = {
        "forward": over_shards(forward, (all_of_it, rows), rows),
        "forward+backward": over_shards(gradient, (all_of_it, rows, rows), all_of_it),
    }
    compiled = {name: program.lower(*arguments[name]).compile() for name, program in programs.items()}

    def call(name: str) -> Any:
        return jax.block_until_ready(compiled[name](*arguments[name]))

    def memory(name: str) -> float:
        return compiled[name].memory_analysis().temp_size_in_bytes * shards

    passes = {name: functools.partial(call, name) for name in PASSES}
    return Contestant(passes, lambda: np.asarray(call("forward")), memory)


def _proc_status(field: str) -> float:
    """A field of this process's status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return float(line.split()[1]) * 1024
