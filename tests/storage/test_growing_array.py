import numpy as np
import pytest

from lstmjax.storage.growing_array import GrowingArray


@pytest.mark.parametrize("columns", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_array_that_grew_is_the_one_that_numpy_would_have_saved(tmp_path, columns, dtype):
    rows = np.arange(1000 * columns, dtype=dtype).reshape(1000, columns)
    with GrowingArray(tmp_path / "grown.npy", columns, dtype) as grown:
        for first in (0, 1, 7, 400):
            grown.append(rows[first : {0: 1, 1: 7, 7: 400, 400: 1000}[first]])
        assert grown.rows == 1000
    np.save(tmp_path / "saved.npy", rows)
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "grown.npy", mmap_mode="r"), rows)


def test_rows_of_another_width_are_refused(tmp_path):
    with GrowingArray(tmp_path / "a.npy", 2) as grown, pytest.raises(ValueError, match=r"\(n, 2\), got \(1, 3\)"):
        grown.append(np.zeros((1, 3)))
