"""Cohorts: many nodes trained at once come to what each alone would have come to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.crypto.privacy_settings import PrivacySettings
from tidings.crypto.sampling import batch_keys
from tidings.crypto.session import Session
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.spec import LearnerConfig, build_learner
from tidings.scenarios.cohort.alone import AloneCohort
from tidings.scenarios.cohort.base import make_cohort
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
