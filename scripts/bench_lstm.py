"""How fast the LSTM layer is: against Flax, PyTorch and the machine's own matrix products.

Command:  python scripts/bench_lstm.py [--json FILE]     (with PyTorch: pip install "lstmjax[bench]")
Runtime:  about six minutes on two cores. Run nothing beside it.

All contestants (see `contestants.py`) have the same weights, take (B, T, I) in float32 and put out (B, T, H); before
anything is timed their outputs are compared. "forward+backward" is the gradient of a weighted sum of the outputs with
respect to the weights alone, not the inputs. They take turns, round by round, each in a process of its own; in each
turn a contestant rests, until nobody's threads spin any more, runs once unmeasured and then for at least 250 ms. A
ratio is the median over rounds of the peer's time by lstmjax's in that round: above 1, lstmjax is faster. "peak" is
what products of square matrices reach, in the best of all processes.

`lstmjax.configure_devices()` has the process keep freed memory, which on Linux saves the larger shapes up to a third of
their time, and schedules its threads as a batch job, which saves the smallest shape a seventh. The peers' processes are
left as they come; with --keep-memory they are told both.

On CPU, lstmjax's layer runs on its native kernel, which is built first if it is not there; with ``LSTMJAX_LSTM=xla``
on the JAX code.

Memory is what a call needs beyond its arguments: of JAX the temporary arrays of the compiled program, on all devices
together (without the packed weights that the kernel keeps); of PyTorch the growth of the resident set, where the system
tells, or of what it holds on a GPU.
"""

import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))

from contestants import CONTESTANTS, PASSES, Process, Shape

import lstmjax
from lstmjax.ops import build
from lstmjax.ops.lstm import chosen
from lstmjax.parallel import cores

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


def operations(shape: Shape, name: str) -> float:
    """Multiplications and additions of a pass's matrix products."""
    B, T, I, H = shape  # noqa: E741
    forward = 2 * B * T * 4 * H * (I + H)
    return forward if name == "forward" else forward + 2 * B * T * 4 * H * H + forward


def measure(shape: Shape, processes: dict[str, Process], rounds: int, product_size: int) -> list[dict[str, Any]]:
    """The rows of one shape."""
    tolerance = 1e-4 if processes["lstmjax"].platform() == "cpu" else 2e-3  # GPUs multiply with 10 bits by default
    outputs = {name: process.outputs(shape) for name, process in processes.items()}
    for name, array in outputs.items():
        np.testing.assert_allclose(array, outputs["lstmjax"], rtol=1e-3, atol=tolerance, err_msg=name)
    times: dict[tuple[str, str], list[float]] = {(name, of): [] for of in (*PASSES, "product") for name in processes}
    for _ in range(rounds):
        for name, of in times:
            process = processes[name]
            turn = process.product_seconds(product_size) if of == "product" else process.seconds(shape, of)
            times[name, of].append(turn)
    peak = max(2 * product_size**3 / statistics.median(times[name, "product"]) for name in processes)
    return [
        summary(
            shape,
            of,
            {name: process.memory(shape, of) for name, process in processes.items()},
            {name: times[name, of] for name in processes},
            peak,
        )
        for of in PASSES
    ]


def summary(
    shape: Shape, of: str, memory: dict[str, float | None], times: dict[str, list[float]], peak: float
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
        "memory_bytes": memory,
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
        lines.append("\ntorch is left out: it is not installed.")
    return "\n".join(lines)


def main(
    *,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    shapes: str = "table",
    rounds: int = 11,
    keep_memory: bool = False,
    reference: bool = False,
) -> None:
    """Measures, and prints a table.

    Args:
        json_file: where to write the results as well.
        shapes: "table" for the six of the design; "tiny" to try the script; or one shape, as "32,96,7,64".
        rounds: turns of every contestant.
        keep_memory: let the peers' processes keep their freed memory, and schedule their threads, as lstmjax's does.
        reference: show how much slower PyTorch is here than in the design's table (two cores of an AMD EPYC): a row
            above 1.3 is void there, and has to be measured again.
    """
    build.main([])
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or on a GPU the first process would take it all
    processes = {name: Process(name, keep_memory=keep_memory) for name in CONTESTANTS}
    backend = processes["lstmjax"].platform()
    if importlib.util.find_spec("torch") is None:
        del processes["torch"]
    if backend != "gpu":
        del processes["cudnn"]
    rows = []
    for shape in SHAPES.get(shapes) or (tuple(int(size) for size in shapes.split(",")),):
        rows += measure(shape, processes, rounds, product_size=128 if shapes == "tiny" else 1024)
        print(*shape, {name: round(ms, 1) for name, ms in rows[-1]["ms"].items()}, file=sys.stderr, flush=True)
    for process in processes.values():
        process.close()
    versions = {"lstmjax": lstmjax.__version__, "jax": jax.__version__, "python": platform.python_version()}
    if "torch" in processes:
        versions["torch"] = importlib.metadata.version("torch")
    result = {"rows": rows, **totals(rows), "rounds": rounds, "keep_memory": keep_memory, "cores": cores()}
    result |= {"platform": backend, "versions": versions, "lstm": chosen()[0]}
    print(table(rows, result, reference=reference))
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    tyro.cli(main, prog="scripts/bench_lstm.py", description=main.__doc__)
