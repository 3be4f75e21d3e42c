"""How fast the LSTM layer is: against Flax, PyTorch and the machine's own matrix products.

Command:  python scripts/bench_lstm.py [--json FILE]     (with PyTorch: pip install "lstmjax[bench]")
Runtime:  about three minutes on two cores. Run nothing beside it.

All contestants have the same weights, take (B, T, I) in float32 and put out (B, T, H); before anything is timed their
outputs are compared. "forward+backward" is the gradient of a weighted sum of the outputs with respect to the weights
alone, not the inputs. They take turns, round by round, in one process; in each turn a contestant runs once unmeasured
and then for at least 50 ms. A ratio is the median over
rounds of the peer's time by lstmjax's of the same round: above 1, lstmjax is faster.

- lstmjax: `lstmjax.nn.LSTM`, the batch split over one XLA CPU device a core and the gradients summed, as training
  does. On an accelerator, one device.
- flax: `nnx.RNN(nnx.OptimizedLSTMCell)` as its users run it: `jax.jit` of the gradient, one device.
- torch: `torch.nn.LSTM(batch_first=True)`, on as many threads as there are cores. CPU only. Its threads spin for a
  while after their work, which makes its small products faster (twice as fast at the first shape) and would take the
  cores from the next contestant: so a turn begins with a rest. Beside other busy processes such spinning makes PyTorch
  many times slower; OMP_WAIT_POLICY=PASSIVE has its threads sleep at once.
- peak: the products of square matrices, the best of JAX and PyTorch.

Memory is what a call needs beyond its arguments: of JAX the temporary arrays of the compiled program, on all devices
together; of PyTorch the growth of the resident set, where the system tells.
"""

import dataclasses
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec

import lstmjax
from lstmjax import parallel
from lstmjax.nn import LSTM, to_torch

Shape = tuple[int, int, int, int]
PASSES = ("forward", "forward+backward")
SHAPES: dict[str, tuple[Shape, ...]] = {
    "table": (
        (32, 96, 7, 64),
        (64, 168, 8, 128),
        (128, 96, 1, 128),
        (512, 60, 16, 64),
        (64, 100, 256, 512),
        (256, 336, 64, 256),
    ),
    "tiny": ((32, 6, 3, 8),),
}
"""(B, T, I, H)."""

TORCH_REFERENCE_MS = dict(zip(SHAPES["table"], (8.7, 66.0, 80.0, 105.0, 426.0, 1850.0), strict=True))
"""Forward and backward of PyTorch 2.13 on two cores of an AMD EPYC (Zen 4), undisturbed: the slower end."""

SECONDS_A_TURN = 0.05
SECONDS_OF_REST = 0.05
"""Longer than threads of OpenMP spin when they find nothing to do."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to compute the layer, for one shape."""

    forward: Callable[[], Any]
    gradient: Callable[[], Any]
    outputs: Callable[[], np.ndarray]
    memory: Callable[[str], float | None]
    """Bytes that a pass needs."""

    def run(self, name: str) -> Callable[[], Any]:
        """A call that ends when the pass has."""
        return self.forward if name == "forward" else self.gradient


def inputs(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The layer's inputs (B, T, I), and the factors of its outputs (B, T, H) in the loss."""
    B, T, I, H = shape  # noqa: E741 - the papers' letters
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(B, T, features)).astype(np.float32) for features in (I, H))


def jax_contestant(module: nnx.Module, shape: Shape, *, shards: int = 1, **keywords: Any) -> Contestant:
    """A Flax module, called with some keywords, its batch split over devices, compiled ahead of time."""
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    mesh = parallel.make_mesh(batch_shards=shards)
    rows, all_of_it = PartitionSpec("batch"), PartitionSpec()

    def forward(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, params, rest)(x, **keywords)

    def gradient(params: Any, x: jax.Array, factor: jax.Array) -> Any:
        gradients = jax.grad(lambda params: jnp.sum(forward(params, x) * factor))(params)
        return lax.psum(gradients, "batch") if shards > 1 else gradients

    def over_shards(function: Callable, in_specs: tuple, out_specs: PartitionSpec) -> Callable:
        if shards > 1:
            function = jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
        return jax.jit(function)

    place = (lambda tree, spec: jax.device_put(tree, jax.NamedSharding(mesh, spec))) if shards > 1 else jax.device_put
    x, factor = (place(array, *([rows] if shards > 1 else [])) for array in inputs(shape))
    params = place(params, *([all_of_it] if shards > 1 else []))
    arguments = {"forward": (params, x), "forward+backward": (params, x, factor)}
    programs = {
        "forward": over_shards(forward, (all_of_it, rows), rows),
        "forward+backward": over_shards(gradient, (all_of_it, rows, rows), all_of_it),
    }
    compiled = {name: program.lower(*arguments[name]).compile() for name, program in programs.items()}

    def call(name: str) -> Any:
        return jax.block_until_ready(compiled[name](*arguments[name]))

    def memory(name: str) -> float:
        return compiled[name].memory_analysis().temp_size_in_bytes * shards

    return Contestant(
        lambda: call("forward"), lambda: call("forward+backward"), lambda: np.asarray(call("forward")), memory
    )


def flax_module(layer: LSTM) -> nnx.RNN:
    """Flax's layer with the same weights."""
    cell = nnx.OptimizedLSTMCell(layer.cell.in_features, layer.cell.hidden_features, rngs=nnx.Rngs(0))
    cell.dense_i.kernel[...] = layer.cell.kernel[...]
    cell.dense_h.kernel[...] = layer.cell.recurrent_kernel[...]
    cell.dense_h.bias[...] = layer.cell.bias[...]
    return nnx.RNN(cell)


def torch_contestant(layer: LSTM, shape: Shape) -> Contestant:
    """PyTorch's layer with the same weights."""
    import torch

    torch.set_num_threads(cores())
    module = torch.nn.LSTM(shape[2], shape[3], batch_first=True)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(layer).items()})
    x, factor = (torch.from_numpy(array) for array in inputs(shape))

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return module(x)[0]

    def gradient() -> None:
        module.zero_grad(set_to_none=True)
        torch.sum(module(x)[0] * factor).backward()

    passes = dict(zip(PASSES, (forward, gradient), strict=True))
    return Contestant(forward, gradient, lambda: forward().numpy(), lambda name: resident_growth(passes[name]))


def resident_growth(call: Callable[[], Any]) -> float | None:
    """Bytes by which the process's resident set grows at most during a call, on Linux; None elsewhere."""
    try:
        import ctypes

        call()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the highest mark
        before = proc_status("VmRSS")
        call()
        return proc_status("VmHWM") - before
    except OSError:
        return None


def proc_status(field: str) -> float:
    """A field of this process's status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return float(line.split()[1]) * 1024


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def products(size: int) -> dict[str, Callable[[], Any]]:
    """Products of (size, size) matrices, one on every device or on all threads."""
    devices = jax.device_count()
    mesh, rows = parallel.make_mesh(batch_shards=devices), PartitionSpec("batch")
    matrices = jax.device_put(np.ones((devices * size, size), np.float32), jax.NamedSharding(mesh, rows))
    product = jax.jit(jax.shard_map(lambda a: a @ a, mesh=mesh, in_specs=rows, out_specs=rows))
    calls = {"jax": lambda: jax.block_until_ready(product(matrices))}
    if with_torch():
        import torch

        torch.set_num_threads(cores())
        stacked, matrix = torch.ones(devices * size, size), torch.ones(size, size)
        calls["torch"] = lambda: stacked @ matrix
    return calls


def with_torch() -> bool:
    """Whether PyTorch is there to be compared with."""
    return importlib.util.find_spec("torch") is not None and jax.default_backend() == "cpu"


def operations(shape: Shape, name: str) -> float:
    """Multiplications and additions of a pass's matrix products."""
    B, T, I, H = shape  # noqa: E741
    forward = 2 * B * T * 4 * H * (I + H)
    return forward if name == "forward" else forward + 2 * B * T * 4 * H * H + forward


def seconds(call: Callable[[], Any]) -> float:
    """Of one call, from as many as fill a turn, after a rest and one call that is not measured."""
    time.sleep(SECONDS_OF_REST)
    call()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS_A_TURN or count == 0:
        call()
        count += 1
    return elapsed / count


def measure(shape: Shape, rounds: int, product_size: int) -> list[dict[str, Any]]:
    """The rows of one shape."""
    layer = LSTM(shape[2], shape[3], rngs=nnx.Rngs(0))
    carry = layer.cell.initialize_carry((shape[0], shape[2]))  # or Flax would want a stream of random numbers
    shards = parallel.resolve_batch_shards(shape[0], widest=layer.cell.recurrent_kernel[...].nbytes)
    contestants = {
        "lstmjax": jax_contestant(layer, shape, shards=shards),
        "flax": jax_contestant(flax_module(layer), shape, initial_carry=carry),
    }
    if with_torch():
        contestants["torch"] = torch_contestant(layer, shape)
    ours = contestants["lstmjax"].outputs()
    for name, contestant in contestants.items():
        np.testing.assert_allclose(contestant.outputs(), ours, rtol=1e-3, atol=1e-4, err_msg=name)

    peaks = products(product_size)
    calls = {(name, of): contestant.run(of) for of in PASSES for name, contestant in contestants.items()}
    calls |= {("peak", name): call for name, call in peaks.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            times[key].append(seconds(call))
    product_operations = 2 * product_size**3 * jax.device_count()
    peak = max(product_operations / statistics.median(times["peak", name]) for name in peaks)
    return [summary(shape, of, contestants, {name: times[name, of] for name in contestants}, peak) for of in PASSES]


def summary(
    shape: Shape, of: str, contestants: dict[str, Contestant], times: dict[str, list[float]], peak: float
) -> dict[str, Any]:
    """One row, as it stands in the JSON."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {
        name: statistics.median(theirs / ours for theirs, ours in zip(values, times["lstmjax"], strict=True))
        for name, values in times.items()
        if name != "lstmjax"
    }
    row = {
        "shape": list(shape),
        "pass": of,
        "ms": {name: 1e3 * median for name, median in medians.items()},
        "ratio": ratios,
        "fraction_of_peak": {name: operations(shape, of) / peak / median for name, median in medians.items()},
        "peak_gflops": peak / 1e9,
        "memory_bytes": {name: contestant.memory(of) for name, contestant in contestants.items()},
    }
    if shape in TORCH_REFERENCE_MS and of == "forward+backward" and "torch" in medians:
        row["torch_against_reference"] = row["ms"]["torch"] / TORCH_REFERENCE_MS[shape]
    return row


def totals(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Geometric mean and least of the ratios over forward+backward."""
    counted = [row["ratio"] for row in rows if row["pass"] == "forward+backward"]
    peers = [name for name in ("torch", "flax") if name in counted[0]]
    return {
        "geomean": {peer: math.exp(statistics.mean(math.log(ratio[peer]) for ratio in counted)) for peer in peers},
        "worst": {peer: min(ratio[peer] for ratio in counted) for peer in peers},
    }


def table(rows: list[dict[str, Any]], result: dict[str, Any], *, reference: bool) -> str:
    """The rows as a table in Markdown."""
    names = list(rows[0]["ms"])
    peers = names[1:]
    heads = ["(B, T, I, H)", "pass", *(f"{name} ms" for name in names), *(f"{peer} / lstmjax" for peer in peers)]
    heads += ["lstmjax of peak", *(f"{name} MB" for name in names), *(["torch / reference"] if reference else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [", ".join(map(str, row["shape"])), row["pass"], *(f"{row['ms'][name]:.1f}" for name in names)]
        cells += [f"{row['ratio'][peer]:.2f}" for peer in peers] + [f"{row['fraction_of_peak']['lstmjax']:.0%}"]
        sizes = (row["memory_bytes"][name] for name in names)
        cells += ["n/a" if size is None else f"{size / 1e6:.1f}" for size in sizes]
        if reference:
            slower = row.get("torch_against_reference")
            cells += ["" if slower is None else f"{slower:.2f}" + (" (void)" if slower > 1.3 else "")]
        lines.append("| " + " | ".join(cells) + " |")
    for peer in result["geomean"]:
        geomean, worst = result["geomean"][peer], result["worst"][peer]
        lines.append(f"\nforward+backward, {peer} / lstmjax: geometric mean {geomean:.2f}, worst {worst:.2f}")
    if "torch" not in names:
        lines.append("\ntorch is left out: it is not installed, or this is not a CPU.")
    return "\n".join(lines)


def main(
    *,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    shapes: str = "table",
    rounds: int = 11,
    reference: bool = False,
) -> None:
    """Measures, and prints a table.

    Args:
        json_file: where to write the results as well.
        shapes: "table" for the six of the design; "tiny" to try the script; or one shape, as "32,96,7,64".
        rounds: turns of every contestant.
        reference: show how much slower PyTorch is here than in the design's table (two cores of an AMD EPYC): a row
            above 1.3 is void there, and has to be measured again.
    """
    parallel.configure_devices()
    chosen = SHAPES.get(shapes) or (tuple(int(size) for size in shapes.split(",")),)
    rows = []
    for shape in chosen:
        rows += measure(shape, rounds, product_size=128 if shapes == "tiny" else 1024)
        print(*shape, {name: round(ms, 1) for name, ms in rows[-1]["ms"].items()}, file=sys.stderr, flush=True)
    versions = {"lstmjax": lstmjax.__version__, "jax": jax.__version__, "python": platform.python_version()}
    if with_torch():
        versions["torch"] = importlib.import_module("torch").__version__
    result = {"rows": rows, **totals(rows), "rounds": rounds, "cores": cores(), "versions": versions}
    result["devices"] = [str(device) for device in jax.devices()]
    print(table(rows, result, reference=reference))
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
