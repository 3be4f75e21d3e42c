"""A state in one file: what comes back, equal bytes, and what is refused."""

import json

import numpy as np
import pytest

from lstmjax.errors import CheckpointError
from lstmjax.storage import state_file

ARRAYS = {"a/b": np.arange(6.0).reshape(2, 3), "empty": np.zeros((0, 2), np.int64), "flag": np.array(True)}
METADATA = {"names": ["é", "\n"], "count": 3}


def test_what_is_saved_comes_back_and_equal_states_have_equal_bytes(tmp_path):
    for name in ("one", "two"):
        state_file.save(tmp_path / name / "state.npz", ARRAYS, METADATA)
    arrays, metadata = state_file.load(tmp_path / "one/state.npz")
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert (tmp_path / "one/state.npz").read_bytes() == (tmp_path / "two/state.npz").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["state.npz"]


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    with pytest.raises(CheckpointError, match="no such file"):
        state_file.load(path)
    for contents in (b"", b"text", b"PK\x03\x04 half"):
        path.write_bytes(contents)
        with pytest.raises(CheckpointError, match="damaged"):
            state_file.load(path)
    np.savez(path, a=np.ones(3))
    with pytest.raises(CheckpointError, match="damaged"):
        state_file.load(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        state_file.load(tmp_path)
    monkeypatch.setattr(state_file, "FORMAT_VERSION", 2)
    state_file.save(path, ARRAYS, METADATA)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 2, this lstmjax reads up to 1"):
        state_file.load(path)


def test_an_array_that_was_changed_is_found(tmp_path):
    path = tmp_path / "state.npz"
    state_file.save(path, ARRAYS, METADATA)
    with np.load(path) as stored:
        arrays = dict(stored)
    assert json.loads(arrays["description"].tobytes())["metadata"] == METADATA
    arrays["a/b"][0, 0] = 9.0
    np.savez(path, **arrays)
    with pytest.raises(CheckpointError, match="array a/b"):
        state_file.load(path)


def test_any_wrong_byte_is_damage_or_means_nothing(tmp_path):
    path = tmp_path / "state.npz"
    state_file.save(path, ARRAYS, METADATA)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :])
        try:
            arrays, metadata = state_file.load(path)
        except CheckpointError as error:
            assert "damaged" in str(error)  # noqa: PT017
            continue
        assert metadata == METADATA
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        state_file.save(tmp_path / "file" / "state.npz", ARRAYS, METADATA)
