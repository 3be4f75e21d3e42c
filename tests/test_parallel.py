import os
import platform
import re
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lstmjax import parallel
from lstmjax.errors import ConfigError


@pytest.mark.parametrize(
    ("batch_size", "configured", "devices", "shards"),
    [
        (64, None, 1, 1),
        (64, None, 2, 2),
        (64, None, 3, 2),  # three parts would be unequal
        (64, None, 100, 4),  # parts of less than 16 windows starve
        (33, None, 8, 1),
        (48, None, 8, 3),
        (30, None, 2, 1),
        (30, 2, 2, 2),  # asked for: small parts are the user's business
        (64, 1, 8, 1),
    ],
)
def test_shards_divide_the_batch_and_feed_a_product(batch_size, configured, devices, shards):
    assert parallel.resolve_batch_shards(batch_size, configured, devices) == shards


def test_shards_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ConfigError, match=r"train.batch_shards is 3: expected a divisor of the batch of 64"):
        parallel.resolve_batch_shards(64, 3, 8)


def test_more_shards_than_devices_is_said_and_done_with_fewer():
    with pytest.warns(RuntimeWarning, match="batch_shards is 4, but there are 3 devices: the batch is split over 2"):
        assert parallel.resolve_batch_shards(64, 4, 3) == 2
    assert parallel.resolve_batch_shards(64, 4, 3) == 2  # said once


@pytest.mark.parametrize(
    ("batch_size", "configured", "processes", "devices", "members", "shards"),
    [
        (64, None, 2, 2, 1, 2),
        (64, None, 2, 8, 1, 4),  # parts of less than 16 windows starve
        (32, None, 4, 4, 1, 4),  # but every process takes one
        (24, None, 2, 8, 1, 2),
        (64, 4, 2, 4, 1, 4),
        (64, 1, 1, 4, 1, 1),
        (64, 1, 2, 4, 3, 1),  # several members are divided among the processes instead
    ],
)
def test_every_process_takes_as_many_parts_of_a_batch(
    batch_size, configured, processes, devices, members, shards, monkeypatch
):
    monkeypatch.setattr("lstmjax.parallel.mesh.process_count", lambda: processes)
    assert parallel.resolve_batch_shards(batch_size, configured, devices, members=members) == shards


def test_a_batch_that_the_processes_cannot_share(monkeypatch):
    monkeypatch.setattr("lstmjax.parallel.mesh.process_count", lambda: 4)
    with pytest.raises(ConfigError, match="train.batch_size is 30: expected a multiple of the 4 processes"):
        parallel.resolve_batch_shards(30, None, 8)
    with pytest.warns(RuntimeWarning, match="batch_shards is 2, but there are 4 processes: the batch is split over 4"):
        assert parallel.resolve_batch_shards(64, 2, 8) == 4


@pytest.mark.parametrize(
    ("members", "batch_shards", "mesh"),
    [
        (1, 2, [["0a", "1a"]]),
        (1, 4, [["0a", "0b", "1a", "1b"]]),
        (1, 1, [["0a"], ["1a"]]),  # the second row only fills the mesh, as every process must take part
        (3, 1, [["0a"], ["0b"], ["1a"], ["1b"]]),
        (3, 2, [["0a", "0b"], ["1a", "1b"]]),
    ],
)
def test_every_process_has_as_many_devices_in_the_mesh(members, batch_shards, mesh):
    assert parallel.arranged([["0a", "0b"], ["1a", "1b"]], members, batch_shards) == mesh
    with pytest.raises(ConfigError, match="in 5 parts cannot be shared by 2 processes"):
        parallel.arranged([["0a", "0b"], ["1a", "1b"]], members, 5)


def test_alone_a_process_agrees_with_itself():
    assert (parallel.agree(3), parallel.from_first(7), parallel.is_first_process()) == (3, 7, True)
    with pytest.raises(ConfigError, match="mine"), parallel.together():
        raise ConfigError("mine")
    parallel.require_equal(lambda: pytest.fail("nobody to compare with"))


def test_members_are_spread_over_devices_and_batches_are_split():
    shapes = {(k, s): dict(parallel.make_mesh(k, s).shape) for k, s in ((1, 1), (1, 2), (2, 1), (5, 1))}
    assert shapes == {
        (1, 1): {"member": 1, "batch": 1},
        (1, 2): {"member": 1, "batch": 2},
        (2, 1): {"member": 2, "batch": 1},
        (5, 1): {"member": 2, "batch": 1},
    }
    assert parallel.padded_members(5, parallel.make_mesh(5)) == 6
    assert parallel.default_mapping(5, parallel.make_mesh(5)) == "map"


@pytest.mark.parametrize("mapping", ["map", "vmap"])
def test_a_function_of_one_member_is_mapped_over_all(mapping):
    mesh = parallel.make_mesh(4)
    square = parallel.over_members(lambda member, shared: member**2 + shared, mesh, mapping)
    result = square(parallel.place_members(np.arange(4.0), mesh), parallel.place_shared(np.float32(1.0), mesh))
    np.testing.assert_array_equal(result, [1.0, 2.0, 5.0, 10.0])


def test_parts_of_a_batch_can_be_summed():
    mesh = parallel.make_mesh(1, 2)

    def total(member, shared):
        part = lax.dynamic_slice_in_dim(shared, 3 * lax.axis_index("batch"), 3)
        return member * lax.psum(jnp.sum(part), "batch")

    sums = parallel.over_members(total, mesh, "map")(np.float32([2.0]), np.arange(6.0, dtype=np.float32))
    assert sums.tolist() == [30.0]


@pytest.mark.parametrize("mapping", ["map", "vmap"])
def test_arrays_are_summed_over_the_batch_as_one(mapping):
    rng = np.random.default_rng(0)
    shapes = {"a": (2, 3), "b": (), "c": (4,)}
    member = {name: rng.normal(size=(2, 2, *shape)).astype(np.float32) for name, shape in shapes.items()}

    def total(member, factor):
        own = jax.tree.map(lambda parts: factor * parts[lax.axis_index("batch")], member)
        return parallel.sum_over_batch(own)

    sums = parallel.over_members(total, parallel.make_mesh(1, 2), mapping)
    found = sums(member, np.float32(2.0))
    jax.tree.map(
        lambda sum, parts: np.testing.assert_array_equal(sum, 2 * parts[:, 0] + 2 * parts[:, 1]), found, member
    )
    (exchange,) = re.findall(r"= (.*) all-reduce\(", sums.lower(member, np.float32(2.0)).compile().as_text())
    assert exchange.count("f32[") == 1


def test_rows_are_split_and_come_back_in_order():
    mesh = parallel.make_mesh(1, 2)
    rows = parallel.over_batch(lambda rows, shared: rows * shared, mesh)(np.arange(8.0), np.float32(2.0))
    assert rows.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
    assert len(rows.sharding.device_set) == 2


def run_python(code, **environment):
    variables = {"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", **environment}
    path = next(p for p in sys.path if (parallel.__file__).startswith(p + "/") and p)
    variables["PYTHONPATH"] = path
    command = [sys.executable, "-W", "always", "-c", code]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True)


CONFIGURE = "from lstmjax import parallel; import jax; print({}, jax.local_device_count())"


@pytest.mark.parametrize(
    ("call", "environment", "printed"),
    [
        ("parallel.configure_devices(3)", {}, "3 3"),
        ("parallel.configure_devices()", {"JAX_NUM_CPU_DEVICES": "5"}, "5 5"),
        ("parallel.configure_devices()", {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}, "4 4"),
        ("(__import__('os').sched_setaffinity(0, {0}), parallel.configure_devices())[1]", {}, "1 1"),
    ],
)
def test_every_core_gets_a_device_before_jax_begins(call, environment, printed):
    done = run_python(CONFIGURE.format(call), **environment)
    assert done.stdout.split("\n")[0] == printed
    assert "RuntimeWarning" not in done.stderr


FAULTS = """
import resource
from lstmjax import parallel
{}
b"x" * 2**26
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * 2**26
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left as they are")
def test_freed_memory_is_kept_for_the_next_arrays():
    pages = 2**26 // resource.getpagesize()

    def faults(call, **environment):
        return int(run_python(FAULTS.format(call), **environment).stdout)

    assert faults("") > pages / 2  # or this kernel's pages are large, and there is nothing to show
    assert faults("parallel.configure_devices()") < pages / 10
    assert faults("parallel.configure_devices()", MALLOC_MMAP_THRESHOLD_="65536") > pages / 2  # as the user said


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="a policy of Linux")
def test_threads_that_wake_stop_no_running_one():
    now = os.sched_getscheduler(0)
    try:
        for policy in (os.SCHED_BATCH, now):
            os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError as error:
        pytest.skip(f"this container allows no other policy: {error}")
    policies = """
import os, threading
from lstmjax import parallel
os.sched_setscheduler(0, os.{}, os.sched_param(0))
parallel.configure_devices()
thread = threading.Thread(target=lambda: print(os.sched_getscheduler(0), os.sched_getscheduler(os.getpid())))
thread.start()
thread.join()
"""
    of_all = run_python(policies.format("SCHED_OTHER")).stdout.split()
    assert of_all == [str(os.SCHED_BATCH)] * 2
    assert run_python(policies.format("SCHED_IDLE")).stdout.split() == [str(os.SCHED_IDLE)] * 2  # as the user said


def test_what_comes_too_late_is_said_once():
    call = "[jax.device_count(), parallel.configure_devices(3), parallel.configure_devices(3)]"
    done = run_python(CONFIGURE.format(call), JAX_NUM_CPU_DEVICES="2")
    assert done.stdout.strip() == "[2, 2, 2] 2"
    assert done.stderr.count("JAX was initialised with 2 CPU devices, so 3 could not be set") == 1


def test_a_number_of_devices_below_one_is_refused():
    with pytest.raises(ConfigError, match="number of CPU devices is 0"):
        parallel.configure_devices(0)


def test_jax_that_has_the_right_number_already_is_no_mistake(recwarn):
    assert parallel.configure_devices(len(jax.devices("cpu"))) == len(jax.devices("cpu"))
    assert not recwarn.list


def test_arrays_are_made_part_by_part_where_they_are_placed():
    mesh = parallel.make_mesh(1, 2)

    def make(members, parts):
        return np.arange(1.0)[members, None, None] + np.arange(2.0)[None, parts, None] + np.zeros(3)

    placed = parallel.place_made(make, (1, 2), ("member", "batch"), mesh)
    assert placed.tolist() == [[[0.0] * 3, [1.0] * 3]]
    assert len(placed.sharding.device_set) == 2
