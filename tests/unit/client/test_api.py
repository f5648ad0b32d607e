"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import umbel
from umbel import Context, Proximal


def test_the_public_names_are_these():
    assert sorted(umbel.__all__) == [
        "Buffer",
        "Client",
        "Context",
        "Dataset",
        "Evaluation",
        "Proximal",
        "Unsupported",
        "Update",
        "buffer",
    ]
    assert all(getattr(umbel, name) is not None for name in umbel.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pytorch'"):
        _ = umbel.pytorch


def test_importing_the_sdk_imports_no_framework_and_no_network():
    code = "import sys, umbel; [getattr(umbel, n) for n in umbel.__all__]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "sklearn", "jax", "keras", "grpc", "pandas", "pydantic"} & set(loaded)


def test_streams_differ_by_seed_round_and_silo_and_by_nothing_else():
    def first(seed=0, round_=1, silo="a", **more):
        return Context(silo=silo, seed=seed, round=round_, **more).generator.random()

    assert first() == first(strategy="FedAvg")
    assert len({first(), first(seed=1), first(round_=2), first(silo="b")}) == 4


def test_the_proximal_gradient_is_mu_times_the_way_from_the_received_model():
    ctx = Context(strategy="FedProx", strategy_parameters={"mu": 0.5})
    parameters = {"w": np.array([1.0, 2.0]), "n": np.array([3])}
    proximal = Proximal(parameters, ctx)
    parameters["w"] += [2.0, -4.0]
    np.testing.assert_array_equal(proximal.gradient("w", parameters["w"]), [1.0, -2.0])
    assert proximal.gradient("n", parameters["n"]) == 0.0
    assert proximal.loss(parameters) == 0.25 * 20


def test_without_a_mu_nothing_pulls():
    proximal = Proximal({"w": np.ones(2)}, Context())
    assert proximal.gradient("w", np.zeros(2)) == 0.0
    assert proximal.loss({"w": np.zeros(2)}) == 0.0
