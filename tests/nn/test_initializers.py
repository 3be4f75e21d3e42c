"""Initial weights when many models are drawn at once."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import lstmjax
from lstmjax.nn.initializers import orthogonal_gates

MANY_AT_ONCE = """
import jax
from lstmjax.nn.initializers import orthogonal_gates
jax.config.update("jax_num_cpu_devices", 2)
draw = jax.jit(jax.vmap(lambda key: orthogonal_gates(key, (64, 256), gates=4)))
for seed in range(30):
    kernels = jax.block_until_ready(draw(jax.random.split(jax.random.key(seed), 16)))
print(kernels.shape)
"""


def test_drawing_many_models_at_once_does_not_hang() -> None:
    # jaxlib's batched QR shares its threads with the program that waits for it: four at once blocked each other.
    root = str(Path(lstmjax.__file__).parents[1])
    environment = {"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", "PYTHONPATH": root}
    command = [sys.executable, "-c", MANY_AT_ONCE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "(16, 64, 256)"


def test_a_model_among_many_has_the_bytes_it_has_alone() -> None:
    def draw(key: jax.Array) -> jax.Array:
        return orthogonal_gates(key, (12, 48), gates=4)

    keys = jax.random.split(jax.random.key(3), 5)
    together = jax.jit(jax.vmap(draw))(keys)
    np.testing.assert_array_equal(together[2], jax.jit(draw)(keys[2]))


def test_columns_that_do_not_divide_among_the_gates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape is \(4, 15\): expected a multiple of 4 columns, one block per gate"):
        orthogonal_gates(jax.random.key(0), (4, 15), gates=4)
