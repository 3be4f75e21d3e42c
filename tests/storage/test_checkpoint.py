"""What is saved comes back exactly, or is not used: every fault is a real one, in the files."""

import json
import shutil
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.errors import CheckpointError
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning
from lstmjax.storage.named_arrays import flatten, unflatten

ARRAYS = {
    "weights/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "weights/bias": np.array(0.1),
    "nothing": np.zeros((0, 3), np.float64),
    "mask": np.array([True, False]),
    "step": np.array(7, np.int32),
}
METADATA = {"ids": ["a", "ü"], "freq": "30min", "nested": {"x": [1, 2.5, None]}}


def test_arrays_and_metadata_come_back_exactly(tmp_path):
    checkpoint.save(tmp_path, 7, ARRAYS, METADATA)
    loaded = checkpoint.load(tmp_path)
    assert loaded.step == 7
    assert loaded.metadata == METADATA
    assert loaded.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded.arrays[name], array)


def test_the_newest_step_is_taken_by_number_and_not_by_text(tmp_path):
    for step in (9, 10):
        checkpoint.save(tmp_path, step, {"x": np.array(step)}, {})
    assert checkpoint.load(tmp_path).arrays["x"] == 10


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": np.array(1)}, {})
    checkpoint.save(tmp_path, 1, {"x": np.array(2)}, {})
    assert checkpoint.load(tmp_path).arrays["x"] == 2


def _damage(file, how):
    contents = bytearray(file.read_bytes())
    if how == "deleted":
        file.unlink()
    elif how == "emptied":
        file.write_bytes(b"")
    elif how == "truncated":
        file.write_bytes(contents[: len(contents) // 2])
    else:
        contents = contents or bytearray(1)
        contents[len(contents) // 2] ^= 1
        file.write_bytes(contents)


@pytest.mark.parametrize("how", ["deleted", "emptied", "truncated", "flipped"])
def test_a_damaged_file_never_gives_wrong_arrays_nor_tracebacks(tmp_path, how, capfd):
    for step in (1, 2):
        arrays = {"x": np.arange(100.0) + step} | {f"y/{number}": np.array([number]) for number in range(30)}
        checkpoint.save(tmp_path / "whole", step, arrays, {"step": step})
    files = [file.relative_to(tmp_path / "whole") for file in (tmp_path / "whole" / "2").rglob("*") if file.is_file()]
    fell_back = 0
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", copy)
        _damage(copy / file, how)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            loaded = checkpoint.load(copy)
        np.testing.assert_array_equal(loaded.arrays["x"], np.arange(100.0) + loaded.step)
        assert loaded.metadata == {"step": loaded.step}
        if loaded.step == 1:
            fell_back += 1
            assert any("step 2" in str(w.message) and "step 1 is used" in str(w.message) for w in seen)
    # Two files have nothing to lose: Orbax's empty marker, and the digests of the files, as arrays have their own too.
    assert fell_back >= len(files) - 2
    assert capfd.readouterr() == ("", "")


def test_sha256sum_verifies_the_files(tmp_path):
    path = checkpoint.save(tmp_path, 1, ARRAYS, METADATA)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], check=True, cwd=path)


def test_a_stray_empty_folder_is_passed_over(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": np.array(1)}, {})
    (tmp_path / "2").mkdir()
    with pytest.warns(CheckpointWarning, match="step 2 cannot be read"):
        assert checkpoint.load(tmp_path).step == 1


def test_no_checkpoint_and_none_that_verifies_have_different_messages(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint found"):
        checkpoint.load(tmp_path)
    (tmp_path / "3").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint verifies"):
        checkpoint.load(tmp_path)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 4)
    checkpoint.save(tmp_path, 1, {"x": np.array(1)}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"format 4.*update lstmjax"):
        checkpoint.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot save"):
        checkpoint.save(tmp_path / "file", 1, {"x": np.array(1)}, {})


def test_a_tree_comes_back_through_its_names():
    tree = {"a": [jnp.arange(3.0), jnp.zeros((2, 0))], "b": {"c": jnp.array(1, jnp.int32)}}
    arrays = flatten("tree", tree)
    restored = unflatten("tree", jax.eval_shape(lambda: tree), arrays)
    assert jax.tree.structure(restored) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, restored, tree)
    assert all(name.startswith("tree/") for name in arrays)


@pytest.mark.parametrize("template", [{"a": np.zeros(4)}, {"b": np.zeros(3)}])
def test_arrays_of_another_network_are_refused(template):
    with pytest.raises(CheckpointError, match="another network"):
        unflatten("tree", template, flatten("tree", {"a": np.zeros(3)}))


def test_the_description_is_plain_json(tmp_path):
    checkpoint.save(tmp_path, 1, ARRAYS, METADATA)
    assert json.loads(json.dumps(checkpoint.load(tmp_path).metadata)) == METADATA


def test_orbax_alone_reads_the_named_arrays_and_their_digests(tmp_path):
    """Without lstmjax, by both of Orbax's interfaces."""
    arrays = {f"weights/params/{name}": array for name, array in ARRAYS.items()}
    path = checkpoint.save(tmp_path, 1, arrays, METADATA, loss=0.5)
    code = f"""
import hashlib, sys
import numpy as np
import orbax.checkpoint
import orbax.checkpoint.experimental.v1 as ocp

described = ocp.checkpointables_metadata({str(path)!r}).custom_metadata
assert described["metadata"] == {METADATA!r}
new = ocp.load_checkpointables({str(path)!r})["state"]
old = orbax.checkpoint.PyTreeCheckpointer().restore({str(path / "state")!r})
for tree in (new, old):
    params = tree["weights"]["params"]
    np.testing.assert_array_equal(params["weights"]["kernel"], np.arange(12.0).reshape(3, 4))
    for name, array in [("mask", params["mask"]), ("step", params["step"])]:
        found = hashlib.sha256(np.asarray(array).tobytes()).hexdigest()
        assert found == described["arrays"]["weights/params/" + name]["sha256"], name
assert "lstmjax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_the_loss_is_read_without_the_arrays_and_only_of_whole_files(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 3, {"a": np.ones(3)}, {}, loss=0.5)
    monkeypatch.setattr(checkpoint, "load_step", lambda *_: pytest.fail("the arrays are loaded"))
    assert checkpoint.loss_of(tmp_path, 3) == 0.5
    file = next(path for path in sorted((tmp_path / "3").rglob("d/*")) if path.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(checkpoint.DamagedError, match="has a damaged file"):
        checkpoint.loss_of(tmp_path, 3)
