"""The gate: one door, ledger first, budgets that end, noise of the promised size."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tidings.crypto.accounting import epsilon_of
from tidings.crypto.errors import BudgetExhausted, ConfigError, StorageError
from tidings.crypto.ledger import Ledger
from tidings.crypto.privacy import PrivacyGate, Release, Session
from tidings.crypto.privacy_settings import PrivacySettings

SAMPLES = 40


def seeded(seed: int = 0) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


def gate(
    ledger: Ledger | None = None,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    planned_steps: int = 10,
    planned_releases: int = 10,
    **chosen: Any,
) -> PrivacyGate:
    return PrivacyGate(
        PrivacySettings(**chosen),
        ledger or Ledger(None),
        samples=samples,
        planned_steps=planned_steps,
        planned_releases=planned_releases,
        entropy=seeded(seed),
    )


def train(session: Session, model: np.ndarray, steps: int = 1) -> np.ndarray:
    """DP-SGD on gradients that all point along the first coordinate."""
    for _ in range(steps):
        rows = session.sample(SAMPLES, 8)
        total = np.zeros(len(model))
        total[0] = (session.per_example_clip or 0) * len(rows)
        model = model - 0.1 * session.noisy_mean(total)
    return model


def release(door: PrivacyGate, round: int, size: int = 6, steps: int = 1) -> Release:
    session, before = door.begin(round), np.zeros(size, dtype=np.float32)
    if session.per_example_clip is None:
        return door.privatize(session, before, before + np.float32(0.01))
    return door.privatize(session, before, train(session, before, steps))


# ---- one door


def test_nobody_but_the_gate_makes_a_release() -> None:
    made = release(gate(), 1)
    fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    with pytest.raises(TypeError, match="made by PrivacyGate"):
        Release(**fields)
    with pytest.raises(TypeError, match="made by PrivacyGate"):
        Release(**fields, token=object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(made, z=np.ones(6, dtype=np.float32))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.z = np.ones(6, dtype=np.float32)  # type: ignore[misc]


def test_what_was_released_cannot_be_changed_afterwards() -> None:
    door = gate(mode="none")
    session, after = door.begin(1), np.ones(3, dtype=np.float32)
    made = door.privatize(session, np.zeros(3), after)
    after[:] = 7
    assert made.z.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        made.z[0] = 2
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        made.z.setflags(write=True)
    assert copy.copy(made).z is made.z


def test_a_session_is_released_once_and_by_its_own_gate() -> None:
    door, model = gate(), np.zeros(6, dtype=np.float32)
    session = door.begin(1)
    after = train(session, model)
    with pytest.raises(RuntimeError, match="not the session"):
        gate().privatize(session, model, after)
    door.privatize(session, model, after)
    with pytest.raises(RuntimeError, match="session is over"):
        door.privatize(session, model, after)
    with pytest.raises(RuntimeError, match="session is over"):
        session.sample(SAMPLES, 8)
    with pytest.raises(RuntimeError, match="session is over"):
        session.noisy_mean(np.zeros(6))
    abandoned = door.begin(2)
    door.begin(3)
    with pytest.raises(RuntimeError, match="not the session"):
        door.privatize(abandoned, model, model)


# ---- the ledger comes first


def test_the_release_is_in_the_ledger_file_when_privatize_returns(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "tidings.db")
    made = release(gate(ledger), 4, steps=3)
    reader = Ledger(tmp_path / "tidings.db")  # another connection sees only what was committed
    entry = reader.entries()[-1]
    assert entry.event == made.event
    assert (entry.round, entry.unit, entry.delta) == (4, "record", 1e-5)
    assert entry.event.steps == 3


def test_what_cannot_be_written_down_does_not_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = Ledger(None)
    door = gate(ledger)

    def full(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(ledger, "append", full)
    with pytest.raises(StorageError, match="disk is full"):
        release(door, 1)
    assert door.spent().releases == 0


# ---- the budget


def test_a_release_names_the_row_of_the_ledger_that_it_is_in() -> None:
    ledger = Ledger(None)
    door = gate(ledger)
    first, second = release(door, 1), release(door, 2)
    assert [first.ledger, second.ledger] == [entry.hash.hex() for entry in ledger.entries()]
    passed_on = door.pass_on(3, second.z)
    assert passed_on.ledger == second.ledger  # it cost nothing, so there is no row for it


@pytest.mark.parametrize("mode", ["record", "peer"])
def test_the_planned_releases_fit_and_one_more_does_not(mode: str) -> None:
    ledger = Ledger(None)
    door = gate(ledger, mode=mode, epsilon=4.0, planned_steps=10, planned_releases=5)
    for round in range(5):
        assert door.affordable(2) is None
        made = release(door, round, steps=2)
        assert made.epsilon is not None
        assert made.epsilon <= 4.0
    spent = door.spent()
    assert spent.epsilon == made.epsilon
    assert spent.epsilon == epsilon_of([entry.event for entry in ledger.entries()], 1e-5)
    assert 0.995 * 4.0 <= spent.epsilon <= 4.0
    assert "above the budget of 4" in (door.affordable(2) or "")
    with pytest.raises(BudgetExhausted, match="above the budget of 4"):
        release(door, 5, steps=2)
    assert len(ledger.entries()) == 5  # the refused one was not written
    assert door.spent() == spent
    free = door.pass_on(6, np.ones(6))
    assert (free.mechanism, free.event, free.epsilon) == ("post-processing", None, spent.epsilon)
    assert len(ledger.entries()) == 5


@pytest.mark.parametrize("mode", ["record", "peer"])
def test_a_budget_is_kept_to_the_last_digit(mode: str) -> None:
    chosen: dict[str, Any] = {"mode": mode, "noise_multiplier": 3.0}
    door = gate(epsilon=1e6, **chosen)
    cost = [release(door, round).epsilon or 0 for round in range(3)]
    enough, short = cost[-1], math.nextafter(cost[-1], 0)
    for budget, allowed in [(enough, 3), (short, 2)]:
        door = gate(epsilon=budget, **chosen)
        made = 0
        while made < 5 and door.affordable(1) is None:
            release(door, made)
            made += 1
        assert made == allowed


def test_a_restart_gives_no_budget_back(tmp_path: Path) -> None:
    path = tmp_path / "tidings.db"
    plan: dict[str, Any] = {"mode": "peer", "epsilon": 2.0, "planned_releases": 4}
    spent: list[float] = []
    noise = set()
    for round in range(4):
        ledger = Ledger(path)
        door = gate(ledger, **plan)
        noise.add(door.noise_multiplier)
        spent.append(release(door, round).epsilon or 0)
        assert door.spent().releases == round + 1
        ledger.close()
    assert spent == sorted(spent)
    assert len(set(spent)) == 4
    assert len(noise) == 1
    assert gate(Ledger(path), **plan).affordable(1) is not None
    # neither does another plan, nor more noise
    more = gate(Ledger(path), mode="peer", epsilon=2.0, noise_multiplier=1.0)
    assert more.spent().epsilon == spent[-1]
    assert more.affordable(1) is not None


def test_a_copied_folder_cannot_train(tmp_path: Path) -> None:
    (tmp_path / "peer").mkdir()
    ledger = Ledger(tmp_path / "peer" / "tidings.db")
    release(gate(ledger), 1)
    ledger.close()
    shutil.copytree(tmp_path / "peer", tmp_path / "copy")
    door = gate(Ledger(tmp_path / "copy" / "tidings.db"))
    assert "copy" in (door.affordable(1) or "")
    with pytest.raises(BudgetExhausted, match="copy"):
        release(door, 2)
    assert gate(Ledger(tmp_path / "peer" / "tidings.db")).affordable(1) is None


def test_a_session_of_many_steps_costs_them_all() -> None:
    door = gate(noise_multiplier=1.0, sampling_rate=0.25, epsilon=100.0)
    made = release(door, 1, steps=7)
    assert made.event is not None
    assert (made.event.steps, made.event.sampling_rate) == (7, 0.25)
    assert made.epsilon == epsilon_of([made.event], 1e-5)


def test_the_mode_cannot_be_changed_under_a_ledger() -> None:
    for first, second in [("none", "record"), ("record", "peer"), ("peer", "record")]:
        ledger = Ledger(None)
        release(gate(ledger, mode=first), 1)
        with pytest.raises(ConfigError, match=f"releases in privacy mode '{first}'"):
            gate(ledger, mode=second)
    # giving protection up is everybody's own decision, and shows
    ledger = Ledger(None)
    release(gate(ledger, mode="record"), 1)
    assert gate(ledger, mode="none").spent().epsilon is None


def test_every_claim_names_what_it_protects() -> None:
    for mode, relation, accountant in [
        ("record", "add-or-remove-one record", "PLD (dp-accounting)"),
        ("peer", "add-or-remove-one peer", "exact Gaussian"),
    ]:
        made = release(gate(mode=mode), 1)
        assert (made.unit, made.relation, made.accountant) == (mode, relation, accountant)
        assert made.delta == 1e-5
        assert made.trust_model.startswith("local")
    bare = release(gate(mode="none"), 1)
    assert (bare.mechanism, bare.event, bare.epsilon, bare.delta) == ("none", None, None, None)
    assert gate().spent().epsilon == 0


# ---- mode record


def test_noise_is_of_the_calibrated_size_and_the_mean_is_right() -> None:
    size, rate, clip = 20_000, 0.5, 2.0
    door = gate(mode="record", noise_multiplier=1.5, sampling_rate=rate, clip_norm=clip)
    session = door.begin(1)
    rows = session.sample(SAMPLES, 8)
    total = np.zeros(size)
    total[:] = 0.4 * clip * len(rows) / math.sqrt(size)
    mean = session.noisy_mean(total)
    assert mean.dtype == np.float32
    assert mean.shape == (size,)
    expected = rate * SAMPLES
    noise = mean.astype(np.float64) * expected - total
    sigma = 1.5 * clip
    assert noise.std() == pytest.approx(sigma, rel=5 / math.sqrt(2 * size) + 2**-8)
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(size)
    # and never less than the accountant counts on, rounding and float32 sums included
    assert noise.std() > sigma * (1 - 5 / math.sqrt(2 * size))


def test_released_gradients_lie_on_the_integer_grid() -> None:
    size, clip = 64, 1.0
    door = gate(mode="record", noise_multiplier=1.0, sampling_rate=1.0, clip_norm=clip)
    session = door.begin(1)
    session.sample(SAMPLES, 8)
    mean = session.noisy_mean(np.full(size, 0.3 / 8)).astype(np.float64)
    units = mean * SAMPLES / (clip / (2**10 * math.sqrt(size)))
    assert np.abs(units - np.rint(units)).max() < 1e-2  # float32 keeps 24 bits of it


def test_batches_are_poisson_samples_whatever_batch_size_says() -> None:
    door = gate(mode="record", sampling_rate=0.25, samples=400, noise_multiplier=1.0)
    sizes = []
    for round in range(200):
        session = door.begin(round)
        rows = session.sample(400, 7)
        assert len(np.unique(rows)) == len(rows)
        sizes.append(len(rows))
    assert abs(np.mean(sizes) - 100) < 5 * math.sqrt(75 / 200)
    assert np.var(sizes) == pytest.approx(75, rel=0.5)


def test_an_empty_batch_is_a_step_of_noise() -> None:
    door = gate(mode="record", sampling_rate=1e-9, noise_multiplier=1.0)
    session = door.begin(1)
    assert session.sample(SAMPLES, 8).size == 0
    step = session.noisy_mean(np.zeros(50))
    assert np.count_nonzero(step) > 40
    made = door.privatize(session, np.zeros(50), step)
    assert made.event is not None
    assert made.event.steps == 1


def test_a_learner_that_cheats_is_stopped() -> None:
    door, model = gate(), np.zeros(4, dtype=np.float32)
    session = door.begin(1)
    with pytest.raises(RuntimeError, match="called without"):
        session.noisy_mean(np.zeros(4))
    rows = session.sample(SAMPLES, 8)
    with pytest.raises(RuntimeError, match="was not clipped"):
        session.noisy_mean(np.full(4, len(rows) * 0.6))
    with pytest.raises(RuntimeError, match="was not called for the last batch"):
        session.sample(SAMPLES, 8)
    with pytest.raises(RuntimeError, match="was not called for the last batch"):
        door.privatize(session, model, model)
    session.noisy_mean(np.zeros(4))
    with pytest.raises(RuntimeError, match="called without"):
        session.noisy_mean(np.zeros(4))
    with pytest.raises(RuntimeError, match="announced 40"):
        door.begin(2).sample(SAMPLES + 1, 8)
    with pytest.raises(RuntimeError, match="made no noisy step"):
        door.privatize(door.begin(3), model, model + 1)
    unchanged = door.privatize(door.begin(4), model, model)
    assert unchanged.epsilon == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_training_that_diverged_is_a_clear_error(bad: float) -> None:
    door = gate(mode="peer")
    with pytest.raises(ConfigError, match="diverged"):
        door.privatize(door.begin(1), np.zeros(3), np.array([0.0, bad, 0.0]))
    assert door.spent().releases == 0
    session = gate(mode="record").begin(1)
    session.sample(SAMPLES, 8)
    with pytest.raises(ConfigError, match="diverged"):
        session.noisy_mean(np.array([0.0, bad]))


# ---- mode peer


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    size=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    scale=st.floats(0, 1e6),
    clip=st.floats(1e-3, 1e3),
)
def test_an_update_is_clipped_exactly_whatever_rounding_does(
    size: int, seed: int, scale: float, clip: float
) -> None:
    from tidings.crypto.session import _clipped_to_grid

    update = np.random.default_rng(seed).standard_normal(size) * scale
    units = _clipped_to_grid(update, clip)
    norm_squared = sum(int(unit) ** 2 for unit in units)
    assert norm_squared <= 2**20 * size  # integers: no rounding error in this comparison
    real = units * (clip / (2**10 * math.sqrt(size)))
    norm = float(np.linalg.norm(update))
    aim = update * min(1.0, clip / norm) if norm else update
    assert np.linalg.norm(real - aim) <= clip * 2**-9


def test_a_peers_update_is_clipped_and_noised_on_the_grid() -> None:
    size, clip, sigma = 20_000, 3.0, 2.0
    door = gate(mode="peer", clip_norm=clip, noise_multiplier=sigma)
    before = np.full(size, 0.5, dtype=np.float32)
    after = before.copy()
    after[0] += 1000.0
    made = door.privatize(door.begin(1), before, after)
    assert made.mechanism == "gaussian"
    change = made.z.astype(np.float64) - 0.5
    assert abs(change[0] - clip) < 5 * sigma * clip  # 1000 was clipped to 3
    noise = change[1:]
    assert noise.std() == pytest.approx(sigma * clip, rel=5 / math.sqrt(2 * size))
    assert abs(noise.mean()) < 5 * sigma * clip / math.sqrt(size)


def test_an_update_of_zero_is_released_as_noise() -> None:
    made = gate(mode="peer").pass_on(1, np.zeros(3))
    assert not made.z.any()
    door = gate(mode="peer")
    assert door.privatize(door.begin(1), np.zeros(30), np.zeros(30)).z.any()


# ---- the other modes, entropy, settings


@pytest.mark.parametrize("mode", ["none", "peer"])
def test_without_record_privacy_batches_are_of_the_asked_size(mode: str) -> None:
    session = gate(mode=mode).begin(1)
    assert session.per_example_clip is None
    rows = session.sample(SAMPLES, 8)
    assert len(np.unique(rows)) == len(rows) == 8
    assert set(session.sample(5, 8).tolist()) == set(range(5))
    assert not np.array_equal(session.sample(10_000, 8), session.sample(10_000, 8))
    with pytest.raises(RuntimeError, match="mode 'record'"):
        session.noisy_mean(np.zeros(3))


@pytest.mark.parametrize("mode", ["none", "peer", "record"])
def test_equal_entropy_gives_equal_runs_and_fresh_entropy_fresh_noise(mode: str) -> None:
    def run(seed: int) -> list[list[float]]:
        door = gate(mode=mode, seed=seed)
        drawn = [door.begin(9).sample(SAMPLES, 8).astype(float)]
        return [z.tolist() for z in [*drawn, *(release(door, round).z for round in range(2))]]

    assert run(5) == run(5)
    assert run(5)[0] != run(6)[0]
    if mode != "none":
        assert run(5)[1] != run(5)[2]


def test_real_entropy_works() -> None:
    door = PrivacyGate(
        PrivacySettings(mode="peer"),
        Ledger(None),
        samples=1,
        planned_steps=1,
        planned_releases=1,
        entropy=os.urandom,
    )
    assert release(door, 1).epsilon is not None


def test_a_peer_without_records_is_told_so() -> None:
    with pytest.raises(ConfigError, match="no training records"):
        gate(samples=0)


def test_a_diverging_shape_is_an_error_of_the_learner() -> None:
    door = gate(mode="none")
    with pytest.raises(RuntimeError, match="make no update"):
        door.privatize(door.begin(1), np.zeros(3), np.zeros(4))


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "both"},
        {"epsilon": 0},
        {"epsilon": math.inf},
        {"delta": 1.0},
        {"clip_norm": -1.0},
        {"noise_multiplier": 0.0},
        {"sampling_rate": 1.2},
        {"epsilom": 3.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PrivacySettings(**bad)
