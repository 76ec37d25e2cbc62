"""What a user names in a configuration is found and made, or told in one clear message."""

import sys

import numpy as np
import pytest
from pydantic import ValidationError

from tests.peer import user_models
from tests.peer.fake_session import FakeSession
from tidings.crypto.errors import ConfigError
from tidings.crypto.ledger import Ledger
from tidings.crypto.privacy import PrivacyGate
from tidings.crypto.privacy_settings import PrivacySettings
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.softmax import SoftmaxLearner
from tidings.peer.learners.spec import (
    LearnerConfig,
    build_learner,
    build_model,
    load_dataset,
    resolve,
)

NET = "tests.peer.user_models:Net"
RECORDS = "tests.peer.user_models:records"


def test_a_users_own_module_loss_and_data_train_together():
    config = LearnerConfig(
        module=NET,
        module_args={"hidden": 4},
        loss="torch.nn:CrossEntropyLoss",
        loss_args={"label_smoothing": 0.1},
        dataset=RECORDS,
        dataset_args={"samples": 50},
    )
    model, learner = build_model(config), build_learner(config)
    assert learner.samples == 50
    assert model.parameters == learner.parameters == 6 * 4 + 4 + 4 + 4 * 3 + 3
    assert model.fingerprint() == learner.fingerprint()
    start = model.initial(3)
    assert np.array_equal(start, learner.initial(3))
    learner.prepare(per_example=True)
    session = FakeSession(clip=1.0)
    after = learner.train(start, start * 0, beta=0.9, plan=TrainingPlan(), session=session)
    assert learner.evaluate(after).loss < learner.evaluate(start).loss


@pytest.mark.parametrize(
    "config",
    [
        LearnerConfig(module=NET, dataset=RECORDS),
        LearnerConfig(kind="softmax", features=6, classes=3, dataset=RECORDS),
    ],
)
@pytest.mark.parametrize("mode", ["none", "record", "peer"])
def test_the_privacy_gate_accepts_how_learners_train(config, mode):
    learner = build_learner(config)
    gate = PrivacyGate(
        PrivacySettings(mode=mode, noise_multiplier=1.0, sampling_rate=0.02, epsilon=1000),
        Ledger(None),
        samples=learner.samples,
        planned_steps=30,
        planned_releases=1,
        entropy=lambda n: bytes(range(n)),
    )
    session = gate.begin(1)
    before = learner.initial(0)
    plan = TrainingPlan(local_steps=30)  # at this rate nearly half of the batches are empty
    after = learner.train(before, before * 0, beta=0.9, plan=plan, session=session)
    release = gate.privatize(session, before, after)
    assert not np.array_equal(before, after)
    assert np.isfinite(release.z).all()
    if mode == "record":
        assert release.event.steps == 30


def test_a_model_needs_no_data_and_no_torch_for_softmax(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    config = LearnerConfig(kind="softmax", features=6, classes=3, dataset=RECORDS)
    assert build_model(config).parameters == 21
    assert isinstance(build_learner(config), SoftmaxLearner)


def test_a_missing_torch_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, "tidings.peer.learners.torch_adapter", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    for build in (build_model, build_learner):
        with pytest.raises(ConfigError, match=r"pip install 'tidings\[torch\]'"):
            build(LearnerConfig(module=NET, dataset=RECORDS))


def test_a_relative_path_starts_from_the_peers_folder(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    x, y, test_x, test_y = user_models.records()
    Dataset(train_x=x, train_y=y, test_x=test_x, test_y=test_y).save(tmp_path / "data.npz")
    config = LearnerConfig(module=NET, dataset_args={"path": "data.npz"})
    assert load_dataset(config, folder=tmp_path).samples == 40
    with pytest.raises(ConfigError, match="no such file"):
        load_dataset(config)
    absolute = LearnerConfig(module=NET, dataset_args={"path": str(tmp_path / "data.npz")})
    assert load_dataset(absolute, folder=tmp_path / "elsewhere").samples == 40


def test_data_in_memory_stands_in_for_the_named():
    x, y, test_x, test_y = user_models.records(samples=17)
    data = Dataset(train_x=x, train_y=y, test_x=test_x, test_y=test_y)
    assert build_learner(LearnerConfig(module=NET), dataset=data).samples == 17


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no colon", "not of the form package.module:object"),
        ("torch.nn:", "not of the form"),
        (":Linear", "not of the form"),
        ("torch.nn:Linear:x", "not of the form"),
        ("../evil:x", "not of the form"),
        ("no_such_package.models:Net", "no module 'no_such_package' to import"),
        ("torch.no_such:Net", "no module 'torch.no_such' to import"),
        ("torch.nn:Linaer", "'torch.nn' has no 'Linaer'.*did you mean 'Linear'"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(name, words):
    with pytest.raises(ConfigError, match=f"learner.module: .*{words}"):
        resolve(name, where="learner.module")


def test_a_nested_name_is_found():
    assert resolve("collections:OrderedDict.fromkeys")("a") == {"a": None}


def test_a_module_that_cannot_be_imported_is_told(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_broken.py").write_text("def broken(:\n")
    (tmp_path / "users_needy.py").write_text("import no_such_thing\n")
    (tmp_path / "users_raising.py").write_text("1 / 0\n")
    for name, words in [
        ("users_broken:x", "failed while being imported: SyntaxError"),
        ("users_needy:x", "needs 'no_such_thing', which is not installed"),
        ("users_raising:x", "failed while being imported: ZeroDivisionError: division"),
    ]:
        with pytest.raises(ConfigError, match=words):
            resolve(name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"module": "tests.peer.user_models:np"}, "is a module, not a class or a function"),
        ({"module_args": {"hiden": 3}}, r"wrong arguments: .*'hiden'.*it takes \(hidden=5\)"),
        ({"module": "tests.peer.user_models:failing"}, "the user's own bug"),
        ({"loss": "torch.nn:CrossEntropy"}, "learner.loss: 'torch.nn' has no 'CrossEntropy'"),
        ({"loss_args": {"nonsense": 1}}, "wrong arguments"),
        ({"loss": "torch.nn.functional:mse_loss", "loss_args": {"x": 1}}, "remove them"),
        ({"dataset": "tests.peer.user_models:nothing"}, "gives a NoneType, not a data set"),
        ({"dataset": "tests.peer.user_models:failing"}, "this failed: ZeroDivisionError"),
        ({"dataset": "tidings.peer.learners.data:npz"}, "wrong arguments: .*'path'"),
        ({"dataset_args": {"classes": 5}}, "train_y holds the label [34]"),
    ],
)
def test_what_cannot_be_made_is_told(changes, words):
    config = LearnerConfig(**{"module": NET, "dataset": RECORDS, **changes})
    with pytest.raises(ConfigError, match=words):
        build_learner(config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "kind 'torch' needs a module"),
        ({"module": NET, "classes": 3}, "belong to learner kind 'softmax'"),
        ({"kind": "softmax", "features": 3}, "needs 'features' and 'classes'"),
        ({"kind": "softmax", "features": 3, "classes": 3, "module": NET}, "has no module"),
        ({"module": NET, "modul_args": {}}, "modul_args"),
        ({"kind": "softmax", "features": 3, "classes": 1}, "classes"),
    ],
)
def test_settings_that_contradict_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        LearnerConfig(**changes)
