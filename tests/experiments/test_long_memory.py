"""The tests of long memory: their sequences and criteria, and the loop that trains for them."""

import dataclasses
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(scope="module")
def memory_tasks(experiments_on_path):
    return importlib.import_module("memory_tasks")


@pytest.fixture(scope="module")
def long_memory(experiments_on_path):
    return importlib.import_module("long_memory")


def draw(task, n):
    return jax.tree.map(np.asarray, jax.jit(task.draw, static_argnums=1)(jax.random.key(0), n))


def test_adding_marks_one_number_in_each_half_and_asks_for_their_sum(memory_tasks):
    task = memory_tasks.adding(10)
    batch = draw(task, 200)
    numbers, marked = batch.x[..., 0], batch.x[..., 1]
    assert np.all(marked[:, :5].sum(axis=1) == 1)
    assert np.all(marked[:, 5:].sum(axis=1) == 1)
    assert np.all(marked[:, :5].sum(axis=0) > 0)  # every place is used
    np.testing.assert_allclose(batch.target, numbers[marked == 1].reshape(200, 2).sum(axis=1), rtol=1e-6)
    # Giving 1 always has the variance of a sum of two uniform numbers.
    assert task.score(jnp.ones((200, 1)), batch).mean() == pytest.approx(1 / 6, rel=0.2)


def test_temporal_order_follows_experiment_6a(memory_tasks):
    batch = draw(memory_tasks.temporal_order(), 300)
    symbols = batch.x.argmax(axis=-1)
    assert (batch.lengths.min(), batch.lengths.max()) == (100, 110)
    for row, length, target in zip(symbols, batch.lengths, batch.target, strict=True):
        assert row[0] == 0
        assert list(np.flatnonzero(row[:length] == 1)) == [length - 1]
        first, second = np.flatnonzero((row == 2) | (row == 3)) + 1
        assert 10 <= first <= 20 < 50 <= second <= 60
        assert target == 2 * (row[first - 1] == 3) + (row[second - 1] == 3)
    assert set(batch.target) == {0, 1, 2, 3}


GRAMMAR = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
}


def test_embedded_reber_strings_obey_the_grammar_and_know_what_may_follow(memory_tasks):
    batch = draw(memory_tasks.embedded_reber(), 500)
    letters = np.array(list(memory_tasks.SYMBOLS))
    for x, length, target, legal in zip(*batch, strict=True):
        text = "".join(letters[[*x[:length].argmax(axis=-1), target[length - 1]]])
        assert text[0] == "B"
        assert text[1] == text[-2]
        assert text[1] in "TP"
        assert text[-1] == "E"
        may_follow = ["TP"]
        state = 0
        for letter in text[2:-2]:
            may_follow.append("".join(GRAMMAR[state]))
            state = GRAMMAR[state][letter]
        assert state == 7
        may_follow += [text[1], "E"]
        assert ["".join(sorted(letters[row])) for row in legal[:length]] == ["".join(sorted(s)) for s in may_follow]
        assert list(letters[target[:length]]) == list(text[1:])
    assert len(np.unique(batch.lengths)) > 10


def test_an_embedded_reber_string_is_right_only_if_all_legal_symbols_lead_everywhere(memory_tasks):
    task = memory_tasks.embedded_reber()
    batch = draw(task, 4)
    perfect = np.where(batch.legal, 1.0, 0.0).astype(np.float32)
    np.testing.assert_array_equal(task.score(perfect, batch), 0)
    np.testing.assert_array_equal(task.score(np.zeros_like(perfect), batch), 1)
    one_wrong = perfect.copy()
    one_wrong[0, batch.lengths[0] - 2] = 1 - one_wrong[0, batch.lengths[0] - 2]  # the symbol to be remembered
    one_wrong[1, batch.lengths[1]] = 1 - one_wrong[1, batch.lengths[1]]  # padding, which does not count
    np.testing.assert_array_equal(task.score(one_wrong, batch), [1, 0, 0, 0])


def test_copy_memory_scores_1_without_memory_and_0_with_all_of_it(memory_tasks):
    task = memory_tasks.copy_memory(30)
    batch = draw(task, 5)
    symbols = batch.x.argmax(axis=-1)
    np.testing.assert_array_equal(symbols[:, :10], batch.target[:, -10:])
    np.testing.assert_array_equal(symbols[:, 10:], np.where(np.arange(10, 50) == 39, 9, 8)[None].repeat(5, axis=0))
    assert np.all(batch.target[:, :-10] == 8)
    guess = np.full((5, 50, 9), -1e3, np.float32)
    guess[:, :-10, 8] = 0
    guess[:, -10:, :8] = 0
    np.testing.assert_allclose(task.score(guess, batch), 1.0, rtol=1e-5)
    np.testing.assert_allclose(task.score(1e3 * jax.nn.one_hot(batch.target, 9), batch), 0.0, atol=1e-5)


def test_runs_end_at_the_check_they_pass_and_do_not_depend_on_their_neighbours(long_memory, memory_tasks, monkeypatch):
    monkeypatch.setattr(long_memory, "TESTS", 256)
    easy = dataclasses.replace(memory_tasks.adding(4), hidden=8, threshold=0.05, check_every=4)
    *_, together = long_memory.run(easy, 3, ["forget"], 8_000)
    *_, alone = long_memory.run(easy, 1, ["forget"], 8_000)
    counts = together["forget"]["sequences"]
    assert all(count % (long_memory.BATCH * easy.check_every) == 0 for count in counts)
    assert len(set(counts)) > 1
    assert alone["forget"]["sequences"] == counts[:1]
    assert max(together["forget"]["scores"]) <= 0.05


def test_the_command_writes_its_results_beside_those_of_other_tests(long_memory, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(long_memory, "TESTS", 256)
    file = tmp_path / "results" / "long.json"
    file.parent.mkdir()
    other = {"task": "other", "limit": None, "published": 7000, "chrono": {"sequences": [5, None], "trained_up_to": 9}}
    file.write_text(json.dumps({"other": other}))
    for initialisation in ("forget", "chrono"):
        long_memory.main(tasks=("reber",), initialisations=(initialisation,), seeds=1, max_sequences=20, json_file=file)
    results = json.loads(file.read_text())
    assert results["other"] == other
    assert [results["reber"][name]["sequences"] for name in ("forget", "chrono")] == [[None], [None]]
    assert "| embedded Reber grammar | none of 1 in 500 | none of 1 in 500 | 8,440 | 8,440 |" in capsys.readouterr().out
