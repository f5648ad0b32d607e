"""PyTorch: a module, and the functions that train it for one epoch and evaluate it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from umbel.client.adapters.common import Adapter, ExamplesOf, Loader, as_metrics, build, epochs
from umbel.client.api import Buffer, Client, Update
from umbel.client.context import Context


def federate(
    module: torch.nn.Module | Callable[..., torch.nn.Module],
    train: Callable[[torch.nn.Module, Any], Any],
    evaluate: Callable[[torch.nn.Module, Any], Mapping[str, float]],
    examples: ExamplesOf,
) -> Client:
    """A client from a training script.

    ``module``: a factory (called with the context if it takes one argument), seeded by the job; or a module, whose
    weights are then the initial ones as they are. ``train(module, batches)`` trains for one epoch, with an optimiser of
    its own, and may return its loss or metrics; it is called ``config.epochs`` times a round (default 1) with batches
    that end at WrapUp. ``evaluate(module, batches)`` returns metrics, means over the examples. ``examples(ctx)``
    returns (train_batches, test_batches). FedProx's term is added to the gradients before each optimiser step.
    """
    return TorchClient(module, train, evaluate, examples)


class TorchClient(Adapter):
    def __init__(
        self,
        module: torch.nn.Module | Callable[..., torch.nn.Module],
        train: Callable[[torch.nn.Module, Any], Any],
        evaluate: Callable[[torch.nn.Module, Any], Mapping[str, float]],
        examples: ExamplesOf,
    ) -> None:
        super().__init__(examples)
        self._source = module
        self._train = train
        self._evaluate = evaluate
        self._module: torch.nn.Module | None = None

    def initial(self, ctx: Context) -> dict[str, Any]:
        module = self._fresh(ctx)
        untrained = {name for name, _ in module.named_buffers()}
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}
        return {name: Buffer(array) if name in untrained else array for name, array in arrays.items()}

    def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
        module = self._loaded(parameters, ctx)
        batches, metrics = self._examples.train(ctx), {}
        module.train()
        with proximal(module, float(ctx.strategy_parameters.get("mu", 0.0)) if ctx.strategy == "FedProx" else 0.0):
            for epoch in ctx.epochs(batches, epochs(ctx)):
                metrics = as_metrics(self._train(module, epoch))
        trained = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
        return Update(trained, metrics)

    def _measure(self, parameters: Mapping[str, Any], batches: Loader, ctx: Context) -> Mapping[str, float]:
        module = self._loaded(parameters, ctx)
        module.eval()
        with torch.no_grad():
            return self._evaluate(module, batches)

    def _fresh(self, ctx: Context) -> torch.nn.Module:
        return self._source if isinstance(self._source, torch.nn.Module) else build(self._source, ctx)

    def _loaded(self, parameters: Mapping[str, Any], ctx: Context) -> torch.nn.Module:
        """The silo's one module, wherever its factory put it, holding ``parameters``."""
        module = self._module = self._module or self._fresh(ctx)
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                tensor.copy_(torch.from_numpy(parameters[name]))
        return module


@contextlib.contextmanager
def proximal(module: torch.nn.Module, mu: float) -> Iterator[None]:
    """Within it, every optimiser step on the module's parameters first adds μ·(w − x) to their gradients, x being
    their values at the beginning (Li et al. 2020, arXiv 1812.06127)."""
    if not mu:
        yield
        return
    received = {parameter: parameter.detach().clone() for parameter in module.parameters()}

    def add(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in received and parameter.grad is not None:
                    parameter.grad.add_(parameter.detach() - received[parameter], alpha=mu)

    handle = register_optimizer_step_pre_hook(add)
    try:
        yield
    finally:
        handle.remove()
