"""Batches without replacement: an order of the rows that follows from a key."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidings.crypto.privacy_settings import PrivacySettings
from tidings.crypto.sampling import MOST_ROWS, batch_keys, draw_rows, words_of
from tidings.crypto.session import Session


def keys_from(seed, n):
    return np.random.default_rng(seed).integers(0, 2**64, size=(n, 2), dtype=np.uint64)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=6),
    start=st.integers(0, 5000),
    data=st.data(),
)
def test_as_many_places_as_there_are_rows_give_every_row_once(seed, lengths, start, data):
    keys = keys_from(seed, len(lengths))
    count = data.draw(st.integers(1, max(lengths)))
    drawn = draw_rows(keys, lengths, start, count)
    assert drawn.shape == (len(lengths), count)
    assert drawn.dtype == np.int64
    for rows, length in zip(drawn, lengths, strict=True):
        assert rows.min() >= 0
        assert rows.max() < length
        piece = rows[:length]
        assert len(set(piece.tolist())) == len(piece)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.integers(1, 400), min_size=2, max_size=9),
    pieces=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_rows_depend_neither_on_other_peers_nor_on_how_they_are_asked_for(seed, lengths, pieces):
    keys = keys_from(seed, len(lengths))
    together = draw_rows(keys, lengths, 0, sum(pieces))
    for number, length in enumerate(lengths):
        at, alone = 0, []
        for size in pieces:
            alone.append(draw_rows(keys[[number]], [length], at, size)[0])
            at += size
        assert np.array_equal(np.concatenate(alone), together[number])


@pytest.mark.parametrize("length", [10, 17, 33, 100])
def test_every_pair_of_rows_is_as_likely_to_come_first(length):
    trials = 200_000
    drawn = draw_rows(keys_from(length, trials), np.full(trials, length), 0, 3)
    for first, second in ((0, 1), (1, 2)):
        pairs = np.bincount(drawn[:, first] * length + drawn[:, second], minlength=length**2)
        apart = pairs.reshape(length, length)[~np.eye(length, dtype=bool)]
        expected = trials / apart.size
        excess = ((apart - expected) ** 2 / expected).sum() - (apart.size - 1)
        # chi-square: its standard deviation is sqrt(2 (cells - 1))
        assert excess < 6 * np.sqrt(2 * apart.size)


@pytest.mark.parametrize("length", [2, 3, 4, 5, 6, 7, 8, 9])
def test_few_rows_are_nearly_as_likely_each(length):
    trials = 50_000
    drawn = draw_rows(keys_from(1, trials), np.full(trials, length), 0, 2)
    for place in (0, 1):
        share = np.bincount(drawn[:, place], minlength=length) * length / trials
        assert np.abs(share - 1).max() < 0.08


def test_the_largest_numbers_of_rows_are_drawn_from():
    drawn = draw_rows(keys_from(3, 2), [MOST_ROWS, MOST_ROWS - 1], MOST_ROWS - 2, 1000)
    assert drawn.max() > MOST_ROWS * 0.9
    assert len(np.unique(drawn)) == drawn.size
    for rows in (0, MOST_ROWS + 1):
        with pytest.raises(ValueError, match=r"1 to 2\^31 rows"):
            draw_rows(keys_from(3, 1), [rows], 0, 1)


@example(seeds=[bytes(32)] * 2)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(seeds=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4))
def test_a_session_draws_what_its_seed_says(seeds):
    keys = batch_keys(seeds)
    drawn = draw_rows(keys, np.full(len(seeds), 50), 0, 60).reshape(len(seeds), 3, 20)
    for number, seed in enumerate(seeds):
        session = Session(
            PrivacySettings(mode="none"), noise_multiplier=0.0, samples=50, round=1, seed=seed
        )
        batches = [session.sample(50, 20) for _ in range(3)]
        assert np.array_equal(np.stack(batches), drawn[number])


def test_words_differ_by_key_and_by_number():
    keys = keys_from(0, 500)
    keys[1:, 0] = keys[0, 0]  # half of the key is enough
    words = np.stack([words_of(keys, number) for number in (*range(10), 1 << 40, (1 << 40) + 1)])
    assert len(np.unique(words)) == words.size
    ones = np.unpackbits(words.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.005
