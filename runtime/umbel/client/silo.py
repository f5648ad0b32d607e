"""The user's client in its silo: every call of its methods, with what goes in and what comes out checked.

All of it runs in the worker thread. What the user's code raises, and what it returns wrongly, ends here: a traceback
or a line in the silo's own log, and a bare "declined" for the server.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from umbel.client import initial, seeding
from umbel.client.api import Client, Evaluation, Unsupported, Update
from umbel.client.context import Context, Dataset, Scalar
from umbel.client.exchange import Exchange, ReturnError
from umbel.client.messages import layout
from umbel.client.state import State
from umbel.client.work import Outcome, Work
from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import Array, matches

Result = TypeVar("Result")

log = logging.getLogger("umbel.client")

TRAINING_LOSS = "training_loss"  # the scalar's name on the wire


class AppError(Exception):
    """The user's code cannot take part at all; one line, the traceback is in the log."""


@dataclass(frozen=True, slots=True)
class Site:
    """What this process is told about its silo. ``state``: a directory that survives a restart."""

    silo: str
    dataset: Dataset
    state: Path


class Silo:
    """One job in one silo, from Welcome on. Raises AppError, or LayoutError for layouts that do not fit together."""

    def __init__(self, app: Client, site: Site, welcome: pb.Welcome) -> None:
        self._app = app
        self._site = site
        self._config: dict[str, Scalar] = json.loads(welcome.config_json or "{}")
        self.job_uid = welcome.job_uid
        self._seed = welcome.seed
        self.examples = 0  # as last counted
        self.exchange = Exchange(layout(welcome.model_layout), layout(welcome.update_layout), welcome.local_parameters)
        self._state = State(site.state, welcome.job_uid)
        if welcome.local_parameters and not self._state.has_private():
            self._begin_private(list(welcome.local_parameters))

    def _begin_private(self, patterns: list[str]) -> None:
        """The first start in this silo: its private part is what the app's `initial` makes of it."""
        arrays, _ = _or_app_error("initial", lambda: initial.make(self._app, self._seed, self._config))
        self._state.keep_private(0, {name: a for name, a in arrays.items() if matches(name, patterns)})

    def count(self) -> int:
        """How many examples the silo holds now, kept as `examples`. Raises AppError."""
        seeding.seed_globals(self._seed, 0, self._site.silo)
        number = _or_app_error("num_examples", lambda: self._app.num_examples(self._context()))
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise AppError(f"`num_examples` returned {number!r}; it must be a whole number, 1 or more")
        self.examples = int(number)
        return self.examples

    def perform(self, work: Work) -> Outcome:
        """Train or evaluate as the task says; never raises for the user's code."""
        try:
            return self._train(work) if work.task.phase == pb.TRAIN else self._evaluate(work)
        except Unsupported as error:
            log.error("round %d: %s", work.task.round, error)
            return work.declined(pb.DECLINE_UNSUPPORTED)
        except ReturnError as error:
            log.error("round %d: %s", work.task.round, error)
        except (Exception, SystemExit):
            log.exception("round %d: the client's code raised; this silo declines", work.task.round)
        return work.declined(pb.DECLINE_ERROR)

    def finish(self, round_: int) -> Path:
        """Store the final model, the private part merged in, and hand it to the app. Raises OSError."""
        private = self._state.private(round_ + 1)
        path = self._state.keep_final(self.exchange.parameters(private), round_)
        try:
            self._app.finished(self.exchange.parameters(private), self._context(round_))
        except (Exception, SystemExit):
            log.exception("the client's `finished` raised; the model is stored nevertheless")
        return path

    def _train(self, work: Work) -> Outcome:
        task = work.task
        private = self._state.private(task.round)
        scalars = self._training_loss(work, private) if task.training_loss else {}
        seeding.seed_globals(self._seed, task.round, self._site.silo)
        update = self._app.fit(self.exchange.parameters(private), self._task_context(work))
        if not isinstance(update, Update):
            raise ReturnError(f"`fit` returned {type(update).__name__}; return umbel.Update(parameters, metrics=…)")
        scalars = {**_metrics("fit", update.metrics), **scalars}
        kept = self.exchange.take(update, private)
        done, planned = work.progress.done, work.progress.planned
        if planned and not done:
            raise ReturnError("the round closes before a single step was done; there is nothing to send")
        if work.progress.partial and not task.accepts_partial:
            raise ReturnError(f"{done} of {planned} steps were done, and the job takes no partial updates")
        if not work.dropped:
            self._state.keep_private(task.round, kept)
        return Outcome(
            update=pb.UpdateHeader(
                job_uid=self.job_uid,
                round=task.round,
                attempt=task.attempt,
                epoch=task.epoch,
                length=self.exchange.up.nbytes,
                steps_done=min(done, planned) if planned else done,
                steps_planned=planned,
                gradients=update.gradients,
                scalars=scalars,
            )
        )

    def _training_loss(self, work: Work, private: Mapping[str, Array]) -> dict[str, float]:
        seeding.seed_globals(self._seed, work.task.round, self._site.silo)
        loss = self._app.training_loss(self.exchange.parameters(private), self._context(work.task.round))
        found = _metrics("training_loss", {TRAINING_LOSS: loss})
        if not math.isfinite(found[TRAINING_LOSS]):
            raise ReturnError(f"`training_loss` returned {loss!r}; the strategy needs a finite number")
        return found

    def _evaluate(self, work: Work) -> Outcome:
        task = work.task
        seeding.seed_globals(self._seed, task.round, self._site.silo)
        parameters = self.exchange.parameters(self._state.private(task.round + 1))
        found = self._app.evaluate(parameters, self._task_context(work))
        if not isinstance(found, Evaluation):
            name = type(found).__name__
            raise ReturnError(f"`evaluate` returned {name}; return umbel.Evaluation(num_examples, metrics)")
        if not isinstance(found.num_examples, int | np.integer) or found.num_examples < 1:
            raise ReturnError(f"`evaluate` counted {found.num_examples!r} examples; 1 or more make an evaluation")
        return Outcome(
            evaluation=pb.Evaluation(
                job_uid=self.job_uid,
                round=task.round,
                attempt=task.attempt,
                epoch=task.epoch,
                num_examples=int(found.num_examples),
                metrics=_metrics("evaluate", found.metrics),
            )
        )

    def _context(self, round_: int = 0) -> Context:
        site = self._site
        return Context(site.silo, site.dataset, self._config, self._seed, round_, site.state)

    def _task_context(self, work: Work) -> Context:
        site, task = self._site, work.task
        rule = (task.strategy, dict(task.strategy_parameters))
        return Context(site.silo, site.dataset, self._config, self._seed, task.round, site.state, *rule, work.progress)


def _metrics(method: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """As plain floats; a NaN is sent, for the server to drop and count."""
    try:
        return {str(name): float(value) for name, value in metrics.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise ReturnError(f"`{method}` returned metrics that are not numbers by name: {error}") from error


def _or_app_error(method: str, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except (Unsupported, initial.InitialError) as error:
        raise AppError(str(error)) from None
    except (Exception, SystemExit) as error:
        log.exception("the client's `%s` raised", method)
        raise AppError(f"`{method}` raised {type(error).__name__}: {error}") from error
