"""What `federate` makes of a script's functions, in each framework."""

from __future__ import annotations

import os

import numpy as np
import pytest

from umbel import Buffer, Context, Dataset, Unsupported
from umbel.client.steps import Progress

os.environ.setdefault("KERAS_BACKEND", "jax")

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 4)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5, 3.0] > 0).astype(np.int64)
TRAIN = [(X[i : i + 10], Y[i : i + 10]) for i in range(0, 50, 10)]
TEST = [(X[50:], Y[50:])]


def examples(ctx):
    return TRAIN, TEST


def context(progress=None, **more):
    config = {"epochs": 3} | more.pop("config", {})
    more = {"round": 1, "silo": "a", "dataset": Dataset("d")} | more
    return Context(config=config, _progress=progress or Progress(), **more)


def torch_app(train_hook=lambda: None, lr=0.1):
    import torch

    import umbel.torch

    def network():
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
        )

    def train(model, batches):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        loss = None
        for x, y in batches:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(y))
            loss.backward()
            optimizer.step()
            train_hook()
        return None if loss is None else loss.item()

    def evaluate(model, batches):
        scores = torch.cat([model(torch.tensor(x)) for x, _ in batches])
        y = torch.cat([torch.tensor(y) for _, y in batches])
        loss = torch.nn.functional.cross_entropy(scores, y).item()
        return {"loss": loss, "accuracy": (scores.argmax(1) == y).float().mean().item()}

    return umbel.torch.federate(network, train, evaluate, examples)


def sklearn_app(train_hook=lambda: None):
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss

    import umbel.sklearn

    def train(model, batches):
        for x, y in batches:
            model.partial_fit(x, y, classes=[0, 1])
            train_hook()

    def evaluate(model, batches):
        x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
        return {"loss": log_loss(y, model.predict_proba(x), labels=[0, 1]), "accuracy": model.score(x, y)}

    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1)
    return umbel.sklearn.federate(model, train, evaluate, examples, features=4, classes=[0, 1], dtype=np.float32)


def jax_app(train_hook=lambda: None):
    import jax
    import jax.numpy as jnp

    import umbel.jax

    def initial(key):
        return {"layers": [{"w": jax.random.normal(key, (4, 2)), "b": jnp.zeros(2)}]}

    def loss(parameters, x, y):
        scores = x @ parameters["layers"][0]["w"] + parameters["layers"][0]["b"]
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(len(y)), y])

    def train(parameters, batches):
        value = 0.0
        for x, y in batches:
            value, gradient = jax.value_and_grad(loss)(parameters, x, y)
            parameters = jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradient)
            train_hook()
        return parameters, {"loss": float(value)}

    def evaluate(parameters, batches):
        x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
        scores = x @ parameters["layers"][0]["w"] + parameters["layers"][0]["b"]
        return {"loss": float(loss(parameters, x, y)), "accuracy": float((scores.argmax(1) == y).mean())}

    return umbel.jax.federate(initial, train, evaluate, examples)


def keras_app(train_hook=lambda: None):
    import keras

    import umbel.keras

    def network():
        layers = [keras.Input((4,)), keras.layers.Dense(8, name="hidden"), keras.layers.BatchNormalization(name="norm")]
        layers += [keras.layers.Dropout(0.1), keras.layers.Dense(2, name="head")]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"])
        return model

    def train(model, batches):
        for x, y in batches:
            model.train_on_batch(x, y)
            train_hook()

    def evaluate(model, batches):
        x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
        return model.evaluate(x, y, verbose=0, return_dict=True)

    return umbel.keras.federate(network, train, evaluate, examples)


APPS = {"torch": torch_app, "sklearn": sklearn_app, "jax": jax_app, "keras": keras_app}
every = pytest.mark.parametrize("make", APPS.values(), ids=APPS)


def initial(app):
    """{name: array} as it comes into the first `fit`."""
    made = app.initial(Context(config={"epochs": 3}))
    return {name: np.array(value.array if isinstance(value, Buffer) else value) for name, value in made.items()}


def copies(parameters):
    return {name: array.copy() for name, array in parameters.items()}


@every
def test_training_lowers_the_loss_and_keeps_names_shapes_and_types(make):
    app = make()
    first = initial(app)
    update = app.fit(copies(first), context())
    trained = {name: np.array(array) for name, array in update.parameters.items()}
    assert {n: (a.shape, a.dtype) for n, a in trained.items()} == {n: (a.shape, a.dtype) for n, a in first.items()}
    before, after = (app.evaluate(copies(p), context()).metrics["loss"] for p in (first, trained))
    assert after < before


@every
def test_counts_examples_and_steps(make):
    app, progress = make(), Progress()
    assert app.num_examples(context()) == 50
    assert app.evaluate(initial(app), context()).num_examples == 10
    app.fit(initial(app), context(progress))
    assert (progress.done, progress.planned) == (15, 15)


@every
def test_ends_at_wrap_up(make):
    progress = Progress()
    app = make(train_hook=lambda: progress.stop.set() if progress.done == 6 else None)
    app.fit(initial(app), context(progress))
    assert (progress.done, progress.planned) == (7, 15)


@every
def test_a_round_depends_only_on_what_comes_in(make):
    app = make()
    first = initial(app)
    runs = []
    for _ in range(2):
        np.random.seed(1)
        if make is torch_app:
            import torch

            torch.manual_seed(1)
        update = app.fit(copies(first), context())
        runs.append({name: np.array(array) for name, array in update.parameters.items()})
    for name, array in runs[0].items():
        np.testing.assert_array_equal(array, runs[1][name])


@every
def test_the_training_loss_is_of_the_training_batches(make):
    app = make()
    assert app.training_loss(initial(app), context()) > 0


def test_torch_marks_the_buffers_of_batch_norm():
    made = torch_app().initial(Context())
    assert {n for n, v in made.items() if isinstance(v, Buffer)} == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }


def test_keras_marks_the_buffers_and_names_weights_by_layer():
    made = keras_app().initial(Context())
    assert {n for n, v in made.items() if isinstance(v, Buffer)} == {"norm.moving_mean", "norm.moving_variance"}
    assert {"hidden.kernel", "hidden.bias", "head.kernel", "head.bias"} < set(made)


def test_jax_names_tensors_by_their_path():
    assert set(jax_app().initial(Context())) == {"layers.0.w", "layers.0.b"}


def test_a_torch_module_keeps_the_weights_it_has():
    import torch

    import umbel.torch

    module = torch.nn.Linear(2, 1)
    app = umbel.torch.federate(module, lambda m, b: None, lambda m, b: {}, examples)
    np.testing.assert_array_equal(app.initial(Context())["weight"], module.weight.detach().numpy())


def test_a_factory_with_an_argument_gets_the_context():
    import torch

    import umbel.torch

    app = umbel.torch.federate(lambda ctx: torch.nn.Linear(ctx.config["n"], 1), None, None, examples)
    assert app.initial(Context(config={"n": 5}))["weight"].shape == (1, 5)


def test_a_data_loader_is_counted_by_its_sampler():
    import torch
    from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

    from umbel.client.adapters.common import count

    data = TensorDataset(torch.zeros(10, 2))
    assert count(DataLoader(data, 4)) == 10
    assert count(DataLoader(data, 4, sampler=SubsetRandomSampler(range(7)))) == 7
    assert count([{"x": [0, 0], "y": [1, 1]}]) == 2


def test_torch_adds_the_proximal_term_at_every_step():
    """One linear weight, gradient 1 a step: w ← w − lr·(1 + μ·(w − x)), from x = 0."""
    import torch

    import umbel.torch

    def train(module, batches):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in batches:
            optimizer.zero_grad()
            module.weight.sum().backward()
            optimizer.step()

    app = umbel.torch.federate(lambda: torch.nn.Linear(1, 1, bias=False), train, None, examples)
    ctx = context(config={"epochs": 1}, strategy="FedProx", strategy_parameters={"mu": 2.0})
    trained = app.fit({"weight": np.zeros((1, 1), np.float32)}, ctx).parameters["weight"]
    w = 0.0
    for _ in TRAIN:
        w -= 0.1 * (1 + 2.0 * w)
    assert trained.item() == pytest.approx(w, rel=1e-6)
    plain = app.fit({"weight": np.zeros((1, 1), np.float32)}, context(config={"epochs": 1})).parameters["weight"]
    assert plain.item() == pytest.approx(-0.5, rel=1e-6)


@pytest.mark.parametrize("make", [sklearn_app, jax_app, keras_app])
def test_an_adapter_that_cannot_run_fedprox_says_so(make):
    app = make()
    with pytest.raises(Unsupported, match="FedProx"):
        app.fit(initial(app), context(strategy="FedProx", strategy_parameters={"mu": 0.1}))


def test_an_iterator_of_examples_is_refused_since_it_lasts_one_pass():
    import umbel.jax

    app = umbel.jax.federate(None, None, None, lambda ctx: (iter(TRAIN), TEST))
    with pytest.raises(TypeError, match="used up after one pass"):
        app.num_examples(context())


def test_a_perceptron_of_scikit_learn_has_layers():
    from sklearn.neural_network import MLPClassifier

    import umbel.sklearn

    app = umbel.sklearn.federate(
        MLPClassifier((8,)),
        lambda m, b: [m.partial_fit(x, y, classes=[0, 1]) for x, y in b] and None,
        lambda m, b: {"accuracy": m.score(X, Y)},
        examples,
        features=4,
        classes=[0, 1],
        dtype=np.float32,
    )
    first = initial(app)
    assert set(first) == {"coefs_.0", "coefs_.1", "intercepts_.0", "intercepts_.1"}
    trained = app.fit(copies(first), context(config={"epochs": 30})).parameters
    before, after = (app.evaluate(copies(p), context()).metrics["accuracy"] for p in (first, trained))
    assert after > before
