"""The torch adapter: for any module, clipping is what a loop over records gives."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.peer import user_models
from tests.peer.fake_session import FakeSession
from tidings.crypto.errors import ConfigError
from tidings.peer.learners import per_example
from tidings.peer.learners.base import TrainingPlan
from tidings.peer.learners.data import Dataset
from tidings.peer.learners.per_example import GhostClipping, InALoop, OneByOne
from tidings.peer.learners.torch_adapter import TorchLearner, TorchModel
from tidings.scenarios.models import mlp
from tidings.scenarios.tasks import digits


def dataset(x=None, y=None):
    train_x, train_y, _, _ = user_models.records()
    x = train_x if x is None else x
    y = train_y if y is None else y
    return Dataset(train_x=x, train_y=y, test_x=x[:10], test_y=y[:10])


def learner(factory, loss=None, data=None, **arguments):
    return TorchLearner(
        factory, arguments, loss or nn.CrossEntropyLoss(), data or dataset(), name="test:model"
    )


def naive_sum(made, loss, data, rows, clip, model):
    """The definition: one record at a time through the whole module, clipped, added, in float64."""
    module = made()
    nn.utils.vector_to_parameters(torch.from_numpy(model), module.parameters())
    total = np.zeros(len(model))
    for row in rows:
        x, y = torch.from_numpy(data.train_x[[row]]), torch.from_numpy(data.train_y[[row]])
        found = torch.autograd.grad(loss(module(x), y), list(module.parameters()))
        g = torch.cat([part.reshape(-1) for part in found]).double().numpy()
        total += g * min(1, clip / max(np.linalg.norm(g), 1e-300))
    return total


ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.LeakyReLU]


@st.composite
def perceptrons(draw):
    widths = [6, *draw(st.lists(st.integers(1, 9), max_size=3)), 3]
    kinds = [draw(st.sampled_from(ACTIVATIONS)) for _ in widths]
    bias = draw(st.booleans())

    def made():
        layers = [nn.Flatten()]
        for a, b, kind in zip(widths, widths[1:], kinds, strict=False):
            layers += [nn.Sequential(nn.Linear(a, b, bias=bias), kind())]
        return nn.Sequential(*layers)

    return made


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    made=perceptrons(),
    seed=st.integers(0, 1000),
    batch=st.integers(0, 40),
    clip=st.sampled_from([1e-3, 0.5, 1.0, 1e3]),
    reduction=st.sampled_from(["mean", "sum"]),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_ghost_clipping_is_a_loop_over_records(made, seed, batch, clip, reduction, scale):
    loss = nn.CrossEntropyLoss(reduction=reduction)
    data = dataset(user_models.records()[0] * np.float32(scale))
    one = learner(made, loss, data)
    rng = np.random.default_rng(seed)
    model = rng.normal(size=one.parameters).astype(np.float32)
    rows = rng.choice(40, size=batch, replace=False)
    found = one.clipped_sum(model, rows, clip)
    assert one.dense or isinstance(one._clipped, GhostClipping)
    expected = naive_sum(made, loss, data, rows, clip, model)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3 * clip)
    for row in rows[:5]:
        alone = one.clipped_sum(model, np.array([row]), clip)
        assert np.linalg.norm(alone.astype(np.float64)) <= clip


def recurrent():
    return nn.Sequential(nn.Unflatten(1, (2, 3)), nn.GRU(3, 4, batch_first=True), Last())


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, pair):
        return self.out(pair[0][:, -1])


def tied():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(6, 3))


def layer_norm():
    return nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.ReLU(inplace=True), nn.Linear(4, 3))


WAYS = [
    (user_models.Net, OneByOne),
    (user_models.conv, OneByOne),
    (recurrent, InALoop),
    (user_models.Branching, InALoop),
    (tied, OneByOne),
    (layer_norm, OneByOne),
]


@pytest.mark.parametrize(("made", "way"), WAYS)
@settings(deadline=None, max_examples=8, derandomize=True)
@given(seed=st.integers(0, 1000), batch=st.integers(0, 40), clip=st.sampled_from([1e-2, 1.0, 1e3]))
def test_any_module_is_clipped_as_a_loop_over_records(made, way, seed, batch, clip):
    loss = nn.CrossEntropyLoss()
    one = learner(made)
    rng = np.random.default_rng(seed)
    model = rng.normal(size=one.parameters).astype(np.float32)
    rows = rng.choice(40, size=batch, replace=False)
    found = one.clipped_sum(model, rows, clip)
    assert isinstance(one._clipped, way)
    expected = naive_sum(made, loss, dataset(), rows, clip, model)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3 * clip)


def test_chunks_make_no_difference(monkeypatch):
    rows = np.arange(40)
    model = learner(user_models.conv).initial(3)
    whole = learner(user_models.conv).clipped_sum(model, rows, 0.5)
    monkeypatch.setattr(per_example, "_CHUNK_BYTES", 4 * len(model) * 7)
    one = learner(user_models.conv)
    assert np.allclose(one.clipped_sum(model, rows, 0.5), whole, atol=1e-6)
    assert one._clipped._chunk == 7


def weighted():
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2]), label_smoothing=0.1)


def own_loss(output, target):
    return nn.functional.cross_entropy(output, target) + output.square().mean()


def test_losses_are_told_apart_by_record():
    rows = np.arange(40)
    model = learner(user_models.Net).initial(1)
    one = learner(user_models.Net, own_loss)
    expected = naive_sum(user_models.Net, own_loss, dataset(), rows, 0.3, model)
    np.testing.assert_allclose(one.clipped_sum(model, rows, 0.3), expected, atol=1e-3)
    made = lambda: nn.Sequential(nn.Linear(6, 3))
    one = learner(made, own_loss)  # linear, but nothing is known of the loss
    model = one.initial(1)
    expected = naive_sum(made, own_loss, dataset(), rows, 0.3, model)
    np.testing.assert_allclose(one.clipped_sum(model, rows, 0.3), expected, atol=1e-3)
    assert isinstance(one._clipped, OneByOne)
    apart = lambda out, y: nn.functional.cross_entropy(
        out, y, weight=weighted().weight, label_smoothing=0.1, reduction="sum"
    )
    expected = naive_sum(made, apart, dataset(), rows, 0.3, model)
    one = learner(made, weighted())
    np.testing.assert_allclose(one.clipped_sum(model, rows, 0.3), expected, atol=1e-3)
    assert isinstance(one._clipped, GhostClipping)


def test_several_numbers_as_target():
    x = user_models.records()[0]
    data = dataset(x, x[:, :3] * 2 + 1)
    made = lambda: nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    one = learner(made, nn.MSELoss(), data)
    model = one.initial(1)
    rows = np.arange(40)
    expected = naive_sum(made, nn.MSELoss(), data, rows, 0.3, model)
    np.testing.assert_allclose(one.clipped_sum(model, rows, 0.3), expected, atol=1e-3)
    assert isinstance(one._clipped, GhostClipping)
    plan = TrainingPlan(local_steps=600, learning_rate=0.1)
    after = one.evaluate(
        one.train(model, np.zeros_like(model), beta=0, plan=plan, session=FakeSession())
    )
    assert one.evaluate(model).accuracy < 0.5 < 0.9 < after.accuracy <= 1


@pytest.mark.parametrize("made", [user_models.Centred, user_models.Tally])
def test_one_record_cannot_reach_another_through_the_module(made):
    one = learner(made)
    model = one.initial(0)
    left = [b.clone() for b in one._module.buffers()]
    together = one.clipped_sum(model, np.arange(10), 1.0)
    apart = sum(one.clipped_sum(model, np.array([row]), 1.0) for row in range(10))
    np.testing.assert_allclose(together, apart, atol=1e-5)
    assert np.abs(together).max() > 0
    assert all(map(torch.equal, left, one._module.buffers()))


class Sly(nn.ReLU):
    def forward(self, x):
        return x - x.mean(dim=0)


def hooked(container):
    module = nn.Sequential(nn.Sequential(nn.Linear(6, 4), nn.Tanh()), nn.Linear(4, 3))
    target = module if container else module[0][1]
    target.register_forward_hook(lambda layer, given, output: output - output.mean(dim=0))
    return module


@pytest.mark.parametrize(
    "made",
    [
        lambda: nn.Sequential(nn.Linear(6, 4), Sly(), nn.Linear(4, 3)),
        lambda: hooked(container=True),
        lambda: hooked(container=False),
    ],
)
def test_ghost_clipping_trusts_only_layers_that_it_knows(made):
    one = learner(made)
    model = one.initial(0)
    together = one.clipped_sum(model, np.arange(10), 1.0)
    apart = sum(one.clipped_sum(model, np.array([row]), 1.0) for row in range(10))
    np.testing.assert_allclose(together, apart, atol=1e-5)
    assert not isinstance(one._clipped, GhostClipping)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (user_models.normed, r"layer '1' \(BatchNorm1d\) mixes the records.*GroupNorm"),
        (user_models.dropping, r"layer '1' \(Dropout\) is random"),
    ],
)
def test_layers_that_break_the_promise_are_refused_in_record_mode(made, words):
    with pytest.raises(ConfigError, match=words):
        learner(made).prepare(per_example=True)
    one = learner(made)
    one.prepare(per_example=False)
    start = one.initial(0)
    with pytest.raises(ConfigError, match=words):
        one.train(start, start, beta=0, plan=TrainingPlan(), session=FakeSession(clip=1.0))
    trained = one.train(start, start, beta=0, plan=TrainingPlan(), session=FakeSession())
    assert not np.array_equal(trained, start)


def test_chance_of_a_function_is_refused_in_record_mode():
    class Hidden(nn.Linear):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), 0.5, self.training)

    with pytest.raises(ConfigError, match=r"draws random numbers \(aten"):
        learner(lambda: Hidden(6, 3)).prepare(per_example=True)


@pytest.mark.parametrize("made", [mlp, user_models.conv, user_models.Branching])
def test_a_record_with_an_infinite_gradient_counts_nothing(made):
    x, y, _, _ = user_models.records()
    x[3] = 3e38 * np.array([1, -1, 1, -1, 1, -1])
    made = made if made is not mlp else lambda: mlp(6, 5, 3)
    one = learner(made, data=dataset(x, y))
    model = one.initial(0) * np.float32(100)  # so that what follows on 3e38 is infinite or NaN
    assert not np.isfinite(one.mean_gradient(model, np.array([3]))).all()
    found = one.clipped_sum(model, np.arange(6), 1.0)
    others = one.clipped_sum(model, np.array([0, 1, 2, 4, 5]), 1.0)
    np.testing.assert_allclose(found, others, atol=1e-6)
    assert not one.clipped_sum(model, np.array([3]), 1.0).any()


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 40))
def test_the_mean_gradient_is_that_of_the_batch(seed, batch):
    one = learner(user_models.Net)
    rng = np.random.default_rng(seed)
    model = rng.normal(size=one.parameters).astype(np.float32)
    rows = rng.choice(40, size=batch, replace=False)
    expected = naive_sum(user_models.Net, nn.CrossEntropyLoss(), dataset(), rows, 1e9, model)
    np.testing.assert_allclose(one.mean_gradient(model, rows), expected / batch, atol=1e-4)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_perceptron_learns_the_digits(clip):
    task = digits()
    one = TorchLearner(mlp, {}, nn.CrossEntropyLoss(), task, name="mlp")
    assert (one.parameters, one.samples) == (2410, 1438)
    start = one.initial(0)
    plan = TrainingPlan(local_steps=300, learning_rate=0.5)
    session = FakeSession(clip=clip, rate=32 / one.samples)
    after = one.evaluate(one.train(start, np.zeros_like(start), beta=0, plan=plan, session=session))
    assert one.evaluate(start).accuracy < 0.3
    assert after.accuracy > 0.92
    assert after.samples == 359


def test_the_start_depends_on_the_seed_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = TorchModel(mlp, {"hidden": 7}, name="mlp")
    first, second = model.initial(1), model.initial(1)
    other = model.initial(2)
    assert torch.equal(torch.rand(3), expected)  # the global generator never noticed
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    torch.manual_seed(1)
    module = mlp(hidden=7)
    flat = nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    assert np.array_equal(first, flat)  # in the order of named_parameters


def test_the_fingerprint_tells_shapes_and_names():
    prints = {
        TorchModel(made, arguments, name="m").fingerprint()
        for made, arguments in [
            (mlp, {}),
            (mlp, {"hidden": 33}),
            (mlp, {"inputs": 32, "hidden": 64}),
            (user_models.Net, {}),
        ]
    }
    assert len(prints) == 4
    assert (
        TorchModel(mlp, {}, name="m").fingerprint() == TorchModel(mlp, {}, name="n").fingerprint()
    )


def test_frozen_parameters_are_not_exchanged_but_alike_everywhere():
    def made():
        module = mlp(6, 5, 3)
        module[0].requires_grad_(False)
        return module

    one, two = learner(made), learner(made)
    assert one.parameters == 5 * 3 + 3
    start = one.initial(4)
    assert one.evaluate(start) == two.evaluate(start)
    rows = np.arange(20)
    np.testing.assert_array_equal(
        one.clipped_sum(start, rows, 1.0), two.clipped_sum(start, rows, 1.0)
    )
    assert isinstance(one._clipped, OneByOne)


def test_dropout_repeats_itself():
    one, two = learner(user_models.dropping), learner(user_models.dropping)
    model = one.initial(0)
    rows = np.arange(20)
    torch.manual_seed(0)
    first = one.mean_gradient(model, rows)
    torch.manual_seed(1)
    assert np.array_equal(two.mean_gradient(model, rows), first)
    moved = model + np.float32(1e-6)
    assert np.abs(one.mean_gradient(moved, rows) - first).max() > 1e-3
    assert one.evaluate(model) == two.evaluate(model)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("made", [lambda: mlp(6, 16, 3), user_models.conv])
def test_threads_do_not_disturb_each_other(made, clip):
    plan = TrainingPlan(local_steps=15, learning_rate=0.1)

    def trained(number, found):
        one = learner(made)
        start = one.initial(number)
        session = FakeSession(clip=clip, seed=number)
        model = one.train(start, np.zeros_like(start), beta=0, plan=plan, session=session)
        found[number] = (model, one.evaluate(model))

    alone, together = {}, {}
    for number in range(6):
        trained(number, alone)
    threads = [threading.Thread(target=trained, args=(n, together)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        assert np.array_equal(alone[number][0], together[number][0])
        assert alone[number][1] == together[number][1]


def test_one_learner_may_train_and_evaluate_at_once():
    one = learner(user_models.Net)
    start = one.initial(0)
    expected = one.evaluate(start)
    plan = TrainingPlan(local_steps=200)
    settled = {"beta": 0, "plan": plan, "session": FakeSession()}
    thread = threading.Thread(target=one.train, args=(start, start), kwargs=settled)
    thread.start()
    while thread.is_alive():
        assert one.evaluate(start) == expected
    thread.join()


def test_a_read_only_model_is_accepted_and_left_alone():
    one = learner(user_models.Net)
    start = one.initial(0)
    start.setflags(write=False)
    kept = start.copy()
    one.train(start, start, beta=0.9, plan=TrainingPlan(), session=FakeSession())
    assert np.array_equal(start, kept)


@pytest.mark.parametrize(
    ("made", "loss", "data", "words"),
    [
        (user_models.not_a_module, None, {}, "makes a str, not a torch.nn.Module"),
        (user_models.failing, None, {}, "could not be made: ZeroDivisionError: the user's own bug"),
        (user_models.READY, None, {}, "a module, not something that makes one"),
        (nn.ReLU, None, {}, "no trainable parameters"),
        (lambda: nn.Linear(6, 3).double(), None, {}, "'weight' is torch.float64"),
        (lambda: nn.Linear(7, 3), None, {}, r"do not fit; a record is 6 \(float32\)"),
        (user_models.Net, None, {"x": np.ones((40, 6), int)}, r"a record is 6 \(int64\)"),
        (user_models.Net, None, {"y": np.arange(40) % 4}, "train_y holds the label 3 in record 3"),
        (user_models.Net, None, {"y": np.arange(40) - 1}, "do not fit|holds the label -1"),
        (user_models.Net, user_models.loss_per_record, {}, "one number for a batch"),
        (user_models.Net, nn.MSELoss(), {"y": np.ones(40)}, r"gives 3 \(float32\).*single number"),
        (user_models.Net, lambda out, y: (1).no, {}, "do not fit.*AttributeError"),
        (lambda: nn.GRU(6, 3), lambda out, y: out[0].mean(), {}, "gives a tuple, not a tensor"),
        (user_models.Net, lambda out, y: out.mean(), {"y": np.ones((40, 2))}, "cannot be compared"),
    ],
)
def test_what_does_not_fit_is_told(made, loss, data, words):
    with pytest.raises(ConfigError, match=words):
        learner(made, loss, dataset(**data))


def test_divergence_is_told():
    one = learner(lambda: mlp(6, 8, 3), nn.MSELoss(), dataset(y=np.ones((40, 3))))
    start = one.initial(0)
    plan = TrainingPlan(local_steps=200, learning_rate=1e6)
    with pytest.raises(ConfigError, match="diverged"):
        one.train(start, np.zeros_like(start), beta=0, plan=plan, session=FakeSession())


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.BCELoss()])
def test_accuracy_of_yes_and_no(loss):
    x = user_models.records()[0]
    y = (x[:, :1] > 0).astype(np.float32)
    ends = [nn.Sigmoid()] if isinstance(loss, nn.BCELoss) else []
    one = learner(lambda: nn.Sequential(nn.Linear(6, 1), *ends), loss, dataset(x, y))
    right = np.array([1, 0, 0, 0, 0, 0, 0], dtype=np.float32)
    assert one.evaluate(right).accuracy == 1
    assert one.evaluate(-right).accuracy == 0


def test_accuracy_of_class_probabilities():
    x, y, _, _ = user_models.records()
    one = learner(user_models.Net, data=dataset(x, np.eye(3, dtype=np.float32)[y]))
    model = one.initial(0)
    assert one.evaluate(model).accuracy == learner(user_models.Net).evaluate(model).accuracy
