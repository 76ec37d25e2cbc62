"""Softmax regression: its closed-form clipping is what a loop over records gives."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peer.fake_session import FakeSession
from tidings.crypto.errors import ConfigError
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.softmax import SoftmaxLearner, SoftmaxModel


def made(seed, samples=30, features=4, classes=3, scale=1.0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, features)) * 4
    y = rng.integers(0, classes, size=2 * samples)
    x = ((centres[y] + rng.normal(size=(2 * samples, features))) * scale).astype(np.float32)
    data = Dataset(train_x=x[:samples], train_y=y[:samples], test_x=x[samples:], test_y=y[samples:])
    return SoftmaxLearner(data, features=features, classes=classes), data


def exact_gradient(model, x, y, classes):
    """One record's gradient in float64, written as a definition: d loss / d W_cj."""
    weights = model[:-classes].reshape(classes, -1).astype(np.float64)
    logits = weights @ x.astype(np.float64) + model[-classes:]
    p = np.exp(logits - logits.max())
    p /= p.sum()
    p[y] -= 1
    return np.concatenate([np.outer(p, x).ravel(), p])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    features=st.integers(1, 8),
    classes=st.integers(2, 5),
    batch=st.integers(0, 30),
    clip=st.sampled_from([1e-3, 0.3, 1.0, 100.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_the_clipped_sum_is_that_of_a_loop_over_records(
    seed, features, classes, batch, clip, scale
):
    learner, data = made(seed, features=features, classes=classes, scale=scale)
    rng = np.random.default_rng(seed)
    model = rng.normal(size=learner.parameters).astype(np.float32)
    rows = rng.choice(learner.samples, size=batch, replace=False)
    expected = np.zeros(learner.parameters)
    for row in rows:
        g = exact_gradient(model, data.train_x[row], data.train_y[row], classes)
        expected += g * min(1, clip / max(np.linalg.norm(g), 1e-300))
    found = learner.dense.clipped_sum(model, rows, clip)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * clip)
    for row in rows:  # one record can never add more than the clip norm
        alone = learner.dense.clipped_sum(model, np.array([row]), clip)
        assert np.linalg.norm(alone.astype(np.float64)) <= clip


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 30))
def test_the_mean_gradient_is_the_slope_of_the_loss(seed, batch):
    learner, data = made(seed)
    rng = np.random.default_rng(seed)
    model = rng.normal(size=learner.parameters).astype(np.float32)
    rows = rng.choice(learner.samples, size=batch, replace=False)
    expected = np.mean(
        [exact_gradient(model, data.train_x[r], data.train_y[r], 3) for r in rows], axis=0
    )
    np.testing.assert_allclose(
        learner.dense.mean_gradient(model, rows), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("clip", [None, 1.0])
def test_training_learns(clip):
    learner, _ = made(1, samples=200)
    model = learner.initial(0)
    before = learner.evaluate(model)
    plan = TrainingPlan(local_steps=100, learning_rate=0.3)
    still = np.zeros_like(model)
    after = learner.evaluate(
        learner.train(model, still, beta=0.9, plan=plan, session=FakeSession(clip=clip))
    )
    assert before.loss == pytest.approx(np.log(3))
    assert after.accuracy > 0.85
    assert after.loss < before.loss / 2
    assert after.samples == 200


def test_the_momentum_pulls_every_step_and_stays_as_it_was():
    learner, _ = made(2)
    model = learner.initial(0)
    momentum = np.linspace(-1, 1, learner.parameters).astype(np.float32)
    kept = momentum.copy()
    plan = TrainingPlan(local_steps=3, batch_size=learner.samples, learning_rate=0.1)
    found = learner.train(model, momentum, beta=0.5, plan=plan, session=FakeSession())
    x = model
    for _ in range(3):
        x = x - np.float32(0.1) * (
            np.float32(0.5) * momentum + learner.dense.mean_gradient(x, np.arange(learner.samples))
        )
    np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-6)
    assert np.array_equal(momentum, kept)
    assert not model.any()


def test_local_momentum_gathers_within_a_round_and_is_forgotten_after_it():
    learner, _ = made(6)
    plan = TrainingPlan(local_steps=3, batch_size=learner.samples, learning_rate=0.1, momentum=0.8)
    start = learner.initial(0)
    pull = np.linspace(-1, 1, learner.parameters).astype(np.float32)
    x, everything = start, np.arange(learner.samples)
    for _ in range(2):
        found = learner.train(x, pull, beta=0.5, plan=plan, session=FakeSession())
        velocity = np.zeros_like(x)
        for _ in range(3):
            velocity = np.float32(0.8) * velocity + learner.dense.mean_gradient(x, everything)
            x = x - np.float32(0.1) * (np.float32(0.5) * pull + velocity)
        np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-6)


def test_an_empty_batch_is_a_step_all_the_same():
    learner, _ = made(3)
    session = FakeSession(clip=1.0, rate=0.0)
    session.noisy_mean = lambda total: (session.sums.append(total), np.ones_like(total))[1]
    plan = TrainingPlan(local_steps=2, learning_rate=0.5)
    start = learner.initial(0)
    found = learner.train(start, start, beta=0.0, plan=plan, session=session)
    assert [len(rows) for rows in session.batches] == [0, 0]
    assert not np.any(session.sums)
    np.testing.assert_array_equal(found, np.full(learner.parameters, -1, dtype=np.float32))


def test_a_record_with_an_infinite_gradient_counts_nothing():
    learner, _ = made(4)
    model = np.full(learner.parameters, 1e38, dtype=np.float32)
    with np.errstate(all="ignore"):
        found = learner.dense.clipped_sum(model, np.arange(learner.samples), 1.0)
    assert np.isfinite(found).all()


def test_divergence_is_told():
    learner, _ = made(5)
    plan = TrainingPlan(local_steps=2, learning_rate=1e38)
    start = learner.initial(0)
    with pytest.raises(ConfigError, match=r"diverged.*learning_rate below 1e\+38"):
        learner.train(start, start + np.float32(1e30), beta=0.9, plan=plan, session=FakeSession())


def test_the_shape_needs_no_data_and_has_a_fingerprint_of_its_own():
    model = SoftmaxModel(features=64, classes=10)
    assert model.parameters == 650
    assert model.fingerprint() == SoftmaxModel(features=64, classes=10).fingerprint()
    assert model.fingerprint() != SoftmaxModel(features=10, classes=64).fingerprint()
    assert np.array_equal(model.initial(1), model.initial(2))


def test_what_does_not_fit_is_told():
    _, data = made(0)
    with pytest.raises(ConfigError, match=r"4 features, not 5.*set features = 4"):
        SoftmaxLearner(data, features=5, classes=3)
    with pytest.raises(ConfigError, match=r"train_y holds the label 2 in record \d+.*0 to 1"):
        SoftmaxLearner(data, features=4, classes=2)
    with pytest.raises(ConfigError, match="at least two classes"):
        SoftmaxModel(features=4, classes=1)
    real = Dataset(
        train_x=data.train_x, train_y=data.train_x[:, 0], test_x=data.test_x,
        test_y=data.test_x[:, 0],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="not one whole number"):
        SoftmaxLearner(real, features=4, classes=3)


def test_images_are_flattened():
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 2, 3), dtype=np.float32), np.arange(8) % 2
    learner = SoftmaxLearner(
        Dataset(train_x=x, train_y=y, test_x=x, test_y=y), features=6, classes=2
    )
    assert learner.evaluate(learner.initial(0)).samples == 8


def test_torch_is_not_imported():
    code = (
        "import sys, tidings.peer.learners.softmax, tidings.peer.learners.spec;"
        "sys.exit('torch' in sys.modules)"
    )
    source = str(Path(__file__).parents[2] / "src")
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, b"")
