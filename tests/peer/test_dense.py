"""The NumPy kernel gives what autograd gives, for the modules that it knows and no others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.peer import user_models
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.dense_module import dense_task
from tidings.peer.learners.torch_adapter import TorchLearner
from tidings.scenarios.models import mlp


def dataset(x=None, y=None):
    train_x, train_y, _, _ = user_models.records()
    x = train_x if x is None else x
    y = train_y if y is None else y
    return Dataset(train_x=x, train_y=y, test_x=x, test_y=y)


def kinked():
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 3))


def doubled():
    return nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))


def cut_off():
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU())


def frozen():
    made = mlp(6, 4, 3)
    made[0].requires_grad_(False)
    return made


def hooked():
    made = mlp(6, 4, 3)
    made[1].register_forward_hook(lambda module, given, output: output * 2)
    return made


class Skewed(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


MEAN = nn.CrossEntropyLoss()
KNOWN = [
    lambda: nn.Linear(6, 3),
    lambda: nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.ReLU()), nn.Linear(5, 3)),
    user_models.deep,
]
UNKNOWN = [
    (kinked, MEAN),
    (doubled, MEAN),
    (cut_off, MEAN),
    (frozen, MEAN),
    (hooked, MEAN),
    (lambda: Skewed(6, 3), MEAN),
    (lambda: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), MEAN),
    (user_models.Net, MEAN),
    (user_models.dropping, MEAN),
    (user_models.conv, MEAN),
    (lambda: mlp(6, 4, 3), nn.CrossEntropyLoss(reduction="sum")),
    (lambda: mlp(6, 4, 3), nn.CrossEntropyLoss(label_smoothing=0.1)),
    (lambda: mlp(6, 4, 3), nn.CrossEntropyLoss(weight=torch.ones(3))),
    (lambda: mlp(6, 4, 3), nn.CrossEntropyLoss(ignore_index=0)),
    (lambda: mlp(6, 4, 3), nn.MultiMarginLoss()),
]


@pytest.mark.parametrize("made", KNOWN)
@pytest.mark.parametrize("loss", [MEAN, nn.functional.cross_entropy])
@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 40), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_gradients_and_losses_are_those_of_torch(made, loss, seed, batch, scale):
    rng = np.random.default_rng(seed)
    data = dataset(user_models.records()[0] * np.float32(scale))
    learner = TorchLearner(made, {}, loss, data, name="test:model")
    assert learner.dense is not None
    model = rng.normal(size=learner.parameters).astype(np.float32)
    rows = rng.choice(40, size=batch, replace=False)
    module = made()
    nn.utils.vector_to_parameters(torch.from_numpy(model), module.parameters())
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    value = loss(module(x[rows]), y[rows])
    found = torch.autograd.grad(value, list(module.parameters()))
    expected = torch.cat([part.reshape(-1) for part in found]).numpy()
    gradient = learner.mean_gradient(model, rows)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * scale)
    with torch.no_grad():
        output = module(x)
    tested = learner.evaluate(model)
    assert tested.accuracy == float((output.argmax(dim=1) == y).double().mean())
    assert tested.loss == pytest.approx(float(loss(output, y)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("made", "loss"), UNKNOWN)
def test_other_modules_and_losses_are_left_to_torch(made, loss):
    assert dense_task(made(), loss, dataset()) is None


def test_other_records_are_left_to_torch():
    whole = dataset(np.ones((8, 6), dtype=np.int64), np.arange(8) % 3)
    assert dense_task(mlp(6, 4, 3), MEAN, whole) is None
    likely = np.full((40, 3), 1 / 3, dtype=np.float32)  # targets that are probabilities
    assert dense_task(mlp(6, 4, 3), MEAN, dataset(y=likely)) is None
    images = dataset(user_models.records()[0].reshape(40, 2, 3))
    flat = nn.Sequential(nn.Flatten(), mlp(6, 4, 3))
    assert dense_task(flat, MEAN, images) is not None


def test_models_that_say_the_same_of_all_classes_choose_the_first():
    learner = TorchLearner(mlp, {"inputs": 6, "outputs": 3}, MEAN, dataset(), name="test:model")
    tested = learner.evaluate(np.zeros(learner.parameters, dtype=np.float32))
    assert tested.accuracy == np.mean(dataset().train_y == 0)
    assert tested.loss == pytest.approx(np.log(3), rel=1e-6)
