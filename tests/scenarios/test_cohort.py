"""Cohorts: many nodes trained at once come to what each alone would have come to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.privacy_settings import PrivacySettings
from tidings.crypto.sampling import batch_keys
from tidings.crypto.session import Session
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.softmax import SoftmaxLearner
from tidings.peer.learners.spec import LearnerConfig, build_learner
from tidings.scenarios.cohort import chunked
from tidings.scenarios.cohort.alone import AloneCohort
from tidings.scenarios.cohort.base import Noise
from tidings.scenarios.cohort.chance import NormalStreams, poisson_samples
from tidings.scenarios.cohort.chosen import make_cohort
from tidings.scenarios.cohort.chunked import ChunkedCohort
from tidings.scenarios.cohort.dense import DenseKernel
from tidings.scenarios.cohort.functional import FunctionalKernel
from tidings.scenarios.scenario import Scenario

HERE = "tests.peer.user_models"
SOFTMAX = LearnerConfig(kind="softmax", features=6, classes=3)
PERCEPTRON = LearnerConfig(
    module="tidings.scenarios.models:mlp", module_args={"inputs": 6, "hidden": 5, "outputs": 3}
)
DEEP = LearnerConfig(module=f"{HERE}:deep")
CONVOLUTION = LearnerConfig(module=f"{HERE}:conv")
OWN_FORWARD = LearnerConfig(module=f"{HERE}:Net")
DENSE = [SOFTMAX, PERCEPTRON, DEEP]
GENERIC = [CONVOLUTION, OWN_FORWARD]
ONE_BY_ONE = [
    LearnerConfig(module=f"{HERE}:{name}") for name in ("dropping", "normed", "Tally", "Branching")
]


def shares(lengths, seed=0):
    rng = np.random.default_rng(seed)
    test = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 3, 20)
    return [
        Dataset(
            train_x=rng.normal(size=(length, 6)).astype(np.float32),
            train_y=rng.integers(0, 3, length),
            test_x=test[0],
            test_y=test[1],
        )
        for length in lengths
    ]


def cohort_of(learner, records, mode="none", chunk=None):
    scenario = Scenario(
        name="small",
        peers=len(records),
        learner=learner,
        privacy=PrivacySettings(mode=mode),
        rules={"topology": {"kind": "none", "nodes": len(records)}},
    )
    made = make_cohort(scenario, records)
    if chunk is not None and isinstance(made, ChunkedCohort):
        made = ChunkedCohort(made._kernel, made.samples, chunk=chunk)
    return made


def models_for(cohort, n, seed=0):
    rng = np.random.default_rng(seed)
    models = rng.normal(size=(n, cohort.parameters)).astype(np.float32)
    momentum = rng.normal(size=models.shape).astype(np.float32)
    return models, momentum, [rng.bytes(32) for _ in range(n)]


def gradients_of(learner):
    return learner.dense if isinstance(learner, SoftmaxLearner) else learner


def trained_alone(learner, records, models, momentum, seeds, plan, beta):
    found = []
    for record, model, pull, seed in zip(records, models, momentum, seeds, strict=True):
        one = build_learner(learner, dataset=record)
        session = Session(
            PrivacySettings(mode="none"),
            noise_multiplier=0,
            samples=one.samples,
            round=1,
            seed=seed,
        )
        found.append(one.train(model, pull, beta=beta, plan=plan, session=session))
    return np.stack(found)


PLANS = st.builds(
    TrainingPlan,
    local_steps=st.integers(1, 6),
    batch_size=st.integers(1, 40),
    learning_rate=st.sampled_from([0.01, 0.3]),
    momentum=st.sampled_from([0.0, 0.5]),
)


@pytest.mark.parametrize("learner", DENSE)
@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    plan=PLANS,
    beta=st.sampled_from([0.0, 0.9]),
    chunk=st.integers(1, 9),
)
def test_dense_nodes_come_to_the_bits_of_peers(learner, lengths, plan, beta, chunk):
    records = shares(lengths)
    cohort = cohort_of(learner, records, chunk=chunk)
    assert isinstance(cohort._kernel, DenseKernel)
    models, momentum, seeds = models_for(cohort, len(lengths))
    expected = trained_alone(learner, records, models, momentum, seeds, plan, beta)
    lost = cohort.train(
        models, momentum, beta=beta, plan=plan, nodes=np.arange(len(lengths)),
        keys=batch_keys(seeds),
    )  # fmt: skip
    assert lost.size == 0
    assert np.array_equal(models, expected)
    scores = cohort.evaluate(models)
    for row, (model, record) in enumerate(zip(models, records, strict=True)):
        alone = build_learner(learner, dataset=record).evaluate(model)
        assert (scores.accuracy[row], scores.loss[row]) == (alone.accuracy, alone.loss)
        assert scores.samples == alone.samples


@pytest.mark.parametrize("learner", GENERIC)
def test_nodes_of_any_module_come_to_what_peers_do(learner):
    lengths = [7, 30, 1, 30, 12]
    records = shares(lengths)
    cohort = cohort_of(learner, records)
    assert isinstance(cohort._kernel, FunctionalKernel)
    models, momentum, seeds = models_for(cohort, len(lengths))
    plan = TrainingPlan(local_steps=5, batch_size=10, momentum=0.5)
    expected = trained_alone(learner, records, models, momentum, seeds, plan, 0.9)
    before = models.copy()
    cohort.train(models, momentum, beta=0.9, plan=plan, nodes=np.arange(5), keys=batch_keys(seeds))
    np.testing.assert_allclose(models, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(models, before, rtol=1e-2, atol=1e-2)
    scores = cohort.evaluate(models)
    for row, model in enumerate(models):
        alone = build_learner(learner, dataset=records[row]).evaluate(model)
        assert scores.accuracy[row] == pytest.approx(alone.accuracy)
        assert scores.loss[row] == pytest.approx(alone.loss, rel=1e-5)


@pytest.mark.parametrize("learner", ONE_BY_ONE)
def test_what_cannot_be_mapped_trains_one_after_another(learner):
    records = shares([9, 20, 14])
    cohort = cohort_of(learner, records)
    assert isinstance(cohort, AloneCohort)
    models, momentum, seeds = models_for(cohort, 3)
    plan = TrainingPlan(local_steps=3, batch_size=8)
    expected = trained_alone(learner, records, models, momentum, seeds, plan, 0.0)
    cohort.train(models, None, beta=0.9, plan=plan, nodes=np.arange(3), keys=batch_keys(seeds))
    assert np.array_equal(models, expected)
    assert cohort.evaluate(models).accuracy.shape == (3,)


@pytest.mark.parametrize("mode", ["none", "record", "peer"])
@pytest.mark.parametrize("learner", [PERCEPTRON, CONVOLUTION])
@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=2, max_size=7),
    steps=st.integers(1, 3),
    chunks=st.permutations([1, 2, 3, 50]),
    data=st.data(),
)
def test_a_node_does_not_feel_who_stands_beside_it(learner, mode, lengths, steps, chunks, data):
    records = shares(lengths)
    plan = TrainingPlan(local_steps=steps, batch_size=9, momentum=0.3)
    noise = None
    if mode != "none":
        noise = Noise(settings=PrivacySettings(mode=mode, sampling_rate=0.4), multiplier=0.7)
    some = np.array(data.draw(st.permutations(range(len(lengths)))))[:-1]
    together = cohort_of(learner, records, mode, chunk=chunks[0])
    apart = cohort_of(learner, records, mode, chunk=chunks[1])
    models, momentum, seeds = models_for(together, len(lengths))
    keys, changed = batch_keys(seeds), models.copy()
    nodes = np.arange(len(lengths))
    together.train(changed, momentum, beta=0.9, plan=plan, nodes=nodes, keys=keys, noise=noise)
    fewer = models[some]
    apart.train(
        fewer, momentum[some], beta=0.9, plan=plan, nodes=some, keys=keys[some], noise=noise
    )
    assert np.array_equal(fewer, changed[some])
    assert not np.array_equal(changed, models)
    assert np.array_equal(together.evaluate(changed).loss[some], apart.evaluate(fewer).loss)


def test_more_steps_than_are_drawn_at_once_are_the_same_steps(monkeypatch):
    records = shares([20, 33, 5])
    plan = TrainingPlan(local_steps=7, batch_size=8)
    found = []
    for drawn in (2**20, 60, 1):
        monkeypatch.setattr(chunked, "_DRAWN", drawn)
        cohort = cohort_of(PERCEPTRON, records, chunk=2)
        models, _, seeds = models_for(cohort, 3)
        cohort.train(models, None, beta=0, plan=plan, nodes=np.arange(3), keys=batch_keys(seeds))
        found.append(models)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("learner", [PERCEPTRON, CONVOLUTION, ONE_BY_ONE[0]])
def test_what_diverges_is_named_and_stays_as_it_was(learner):
    records = shares([20, 20, 20])
    cohort = cohort_of(learner, records)
    models, _, seeds = models_for(cohort, 3)
    models[1] *= np.float32(1e36)
    before = models.copy()
    plan = TrainingPlan(local_steps=3, learning_rate=1e5)
    lost = cohort.train(models, None, beta=0, plan=plan, nodes=np.arange(3), keys=batch_keys(seeds))
    assert lost.tolist() == [1]
    assert np.array_equal(models[1], before[1])
    assert np.isfinite(models).all()
    assert not np.array_equal(models[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("learner", [SOFTMAX, PERCEPTRON, *GENERIC])
@settings(deadline=None, max_examples=10, derandomize=True)
@given(clip=st.sampled_from([1e-3, 0.5, 100.0]), seed=st.integers(0, 99), width=st.integers(1, 20))
def test_sums_of_clipped_gradients_are_those_of_peers(learner, clip, seed, width):
    records = shares([30, 25], seed)
    cohort = cohort_of(learner, records, "record")
    models, _, _ = models_for(cohort, 2, seed)
    rows = np.random.default_rng(seed).integers(0, 25, size=(2, width))
    present = (np.random.default_rng(seed + 1).random(rows.shape) < 0.7).astype(np.float32)
    found = np.empty_like(models)
    cohort._kernel.clipped_sum(models, rows + np.array([[0], [30]]), present, clip, found)
    for node in range(2):
        one = build_learner(learner, dataset=records[node])
        there = rows[node][present[node] > 0]
        expected = gradients_of(one).clipped_sum(models[node], there, clip)
        np.testing.assert_allclose(found[node], expected, rtol=1e-4, atol=1e-4 * clip)
        longest = clip * max(1, len(there))
        assert np.linalg.norm(found[node].astype(np.float64)) <= longest


@pytest.mark.parametrize("learner", [PERCEPTRON, CONVOLUTION])
def test_each_node_takes_noisy_steps_on_records_of_its_own(learner):
    lengths = [3, 19, 8, 11]
    records = shares(lengths)
    cohort = cohort_of(learner, records, "record")
    models, _, seeds = models_for(cohort, 4)
    before = models.copy()
    settings = PrivacySettings(mode="record", clip_norm=1.0, sampling_rate=1.0)
    cohort.train(
        models, None, beta=0, plan=TrainingPlan(local_steps=1, learning_rate=1.0),
        nodes=np.arange(4), keys=batch_keys(seeds), noise=Noise(settings=settings, multiplier=1e-4),
    )  # fmt: skip
    for node, length in enumerate(lengths):
        one = build_learner(learner, dataset=records[node])
        mean = one.clipped_sum(before[node], np.arange(length), 1.0) / length
        np.testing.assert_allclose(before[node] - models[node], mean, atol=6e-4 / length + 1e-6)


@pytest.mark.parametrize("learner", [PERCEPTRON, CONVOLUTION])
def test_a_record_with_an_infinite_gradient_counts_nothing(learner):
    cohort = cohort_of(learner, shares([6]), "record")
    models, _, _ = models_for(cohort, 1)
    found = np.empty_like(models)
    with np.errstate(all="ignore"):
        cohort._kernel.clipped_sum(
            models * np.float32(1e30), np.arange(6)[None], np.ones((1, 6), np.float32), 1.0, found
        )
    assert np.isfinite(found).all()


MANY = 600  # nodes that train alike, to see what noise they have


def changes(learner, mode, *, multiplier, steps=1, many=MANY):
    """By how much nodes with equal models and records move in a round, (many, P)."""
    records = shares([8], seed=1) * many
    cohort = cohort_of(learner, records, mode)
    model = np.random.default_rng(3).normal(size=cohort.parameters).astype(np.float32)
    models = np.repeat(model[None], many, axis=0)
    noise = Noise(
        settings=PrivacySettings(mode=mode, clip_norm=0.5, sampling_rate=1.0),
        multiplier=multiplier,
    )
    plan = TrainingPlan(local_steps=steps, batch_size=8, learning_rate=0.25)
    seeds = [np.random.default_rng(node).bytes(32) for node in range(many)]
    cohort.train(
        models, None, beta=0, plan=plan, nodes=np.arange(many), keys=batch_keys(seeds), noise=noise
    )
    return models.astype(np.float64) - model


@pytest.mark.parametrize("learner", [PERCEPTRON, CONVOLUTION])
@pytest.mark.parametrize("multiplier", [0.4, 3.0])
def test_the_noise_of_each_step_is_as_large_as_the_accountant_was_told(learner, multiplier):
    moved = changes(learner, "record", multiplier=multiplier)
    # x -= lr (sum + noise) / (rate * samples), the noise multiplier * clip_norm
    expected = 0.25 * multiplier * 0.5 / 8
    noise = moved - moved.mean(axis=0)
    assert noise.std() == pytest.approx(expected, rel=0.03)
    assert np.abs(noise.std(axis=0) / expected - 1).max() < 0.15
    assert np.abs(noise.mean(axis=1)).max() < 6 * expected / np.sqrt(noise.shape[1])
    beside = (noise[:, 1:] * noise[:, :-1]).mean() / expected**2
    assert abs(beside) < 5 / np.sqrt(noise.size)
    one = build_learner(learner, dataset=shares([8], seed=1)[0])
    model = np.random.default_rng(3).normal(size=one.parameters).astype(np.float32)
    sums = gradients_of(one).clipped_sum(model, np.arange(8), 0.5)
    np.testing.assert_allclose(
        moved.mean(axis=0), -0.25 * sums / 8, atol=5 * expected / np.sqrt(MANY)
    )


@pytest.mark.parametrize("learner", [PERCEPTRON, CONVOLUTION])
def test_a_whole_update_is_clipped_and_gets_the_noise_of_its_clip_norm(learner):
    moved = changes(learner, "peer", multiplier=0.8, steps=40)
    noise = moved - moved.mean(axis=0)
    size = np.sqrt(noise.shape[1])
    assert noise.std() == pytest.approx(0.8 * 0.5, rel=0.03)
    assert np.linalg.norm(moved.mean(axis=0)) < 0.5 + 5 * 0.4 * size / np.sqrt(MANY)
    assert np.linalg.norm(moved.mean(axis=0)) > 0.2


def test_every_step_has_noise_of_its_own():
    one, two = (changes(SOFTMAX, "record", multiplier=50.0, steps=steps) for steps in (1, 2))
    spread = [(moved - moved.mean(axis=0)).std() for moved in (one, two)]
    assert spread[1] / spread[0] == pytest.approx(np.sqrt(2), rel=0.03)


@pytest.mark.parametrize(("mode", "expected"), [("record", 0.25 * 2 * 0.5 / 8), ("peer", 2 * 0.5)])
def test_nodes_that_train_one_after_another_have_the_same_noise(mode, expected):
    moved = changes(ONE_BY_ONE[3], mode, multiplier=2.0, many=60)
    noise = moved - moved.mean(axis=0)
    assert noise.std() == pytest.approx(expected, rel=0.1)


def test_steps_and_nodes_have_noise_of_their_own():
    keys = np.random.default_rng(0).integers(0, 2**64, size=(50, 2), dtype=np.uint64)
    streams = NormalStreams()
    drawn = np.concatenate([streams.normal(keys, step, 401) for step in range(4)])
    assert np.array_equal(streams.normal(keys[7:8], 2, 401)[0], drawn[107])
    apart = np.corrcoef(drawn)[~np.eye(200, dtype=bool)]
    assert np.abs(apart).max() < 6 / np.sqrt(401)
    z = np.sort(drawn.ravel().astype(np.float64))
    normal = 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in z[::40]]))
    assert np.abs(normal - np.linspace(0, 1, len(z))[::40]).max() < 2 / np.sqrt(z.size)


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
def test_poisson_samples_take_each_row_on_its_own(rate):
    keys = np.random.default_rng(1).integers(0, 2**64, size=(4000, 2), dtype=np.uint64)
    lengths = np.arange(4000) % 50 + 1
    taken = np.zeros((2, 4000, 50))
    for step in (0, 1):
        counts, rows = poisson_samples(keys, lengths, step, rate)
        owners = np.repeat(np.arange(4000), counts)
        assert (rows < lengths[owners]).all()
        taken[step, owners, rows] = 1
        assert taken[step].sum() == len(rows)  # none twice
    there = np.arange(50) < lengths[:, None]
    chances = there.sum()
    deviation = np.sqrt(rate * (1 - rate))
    for step in (0, 1):
        assert abs(taken[step][there].mean() - rate) <= 5 * deviation / np.sqrt(chances)
        shares_of_place = taken[step].sum(axis=0) / there.sum(axis=0)
        limits = 5 * deviation / np.sqrt(there.sum(axis=0))
        assert (np.abs(shares_of_place - rate) <= limits).all()
    if rate < 1:
        pairs = (
            (taken[0, :, 1:] * taken[0, :, :-1])[there[:, 1:]],  # neighbours in one sample
            (taken[0] * taken[1])[there],  # one row in two steps
        )
        for both in pairs:
            assert abs(both.mean() - rate**2) < 5 * rate / np.sqrt(both.size)
    alone = poisson_samples(keys[[123]], lengths[[123]], 1, rate)[1]
    assert np.array_equal(np.flatnonzero(taken[1, 123]), alone)
