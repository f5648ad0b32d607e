"""Steps done, steps planned, and ending at WrapUp."""

from __future__ import annotations

import pytest

from umbel import Context
from umbel.client.steps import Progress


@pytest.fixture
def progress():
    return Progress()


@pytest.fixture
def ctx(progress):
    return Context(_progress=progress)


def test_counts_every_batch_of_every_epoch(ctx, progress):
    assert list(ctx.steps("abc", epochs=2)) == list("abcabc")
    assert (progress.done, progress.planned, progress.partial) == (6, 6, False)


def test_the_plan_stands_before_the_first_step(ctx, progress):
    ctx.steps("abc", epochs=2)
    assert (progress.done, progress.planned) == (0, 6)


def test_ends_after_the_step_at_hand(ctx, progress):
    seen = []
    for batch in ctx.steps("abc", epochs=2):
        seen.append(batch)
        if len(seen) == 4:
            progress.stop.set()
    assert seen == list("abca")
    assert (progress.done, progress.planned, progress.partial) == (4, 6, True)
    assert ctx.should_stop


def test_a_loader_without_a_length_has_no_plan(ctx, progress):
    class Endless:
        def __iter__(self):
            return iter("ab")

    assert list(ctx.steps(Endless(), epochs=2)) == list("abab")
    assert (progress.done, progress.planned, progress.partial) == (4, 0, False)


def test_one_unknown_loop_makes_the_whole_plan_unknown(ctx, progress):
    list(ctx.steps(["a"]))
    list(ctx.steps(iter("ab")))
    list(ctx.steps(["a"]))
    assert (progress.done, progress.planned) == (4, 0)


def test_a_step_that_is_left_by_break_counts(ctx, progress):
    for _ in ctx.steps("abc"):
        break
    assert progress.done == 1


def test_passes_share_one_plan_and_look_like_their_loader(ctx, progress):
    class Loader(list):
        dataset = "the data set"

    passes = []
    for batches in ctx.epochs(Loader("abc"), 3):
        assert (len(batches), batches.dataset) == (3, "the data set")
        passes.append(list(batches))
        if len(passes) == 2:
            progress.stop.set()
    assert passes == [list("abc"), list("abc")]
    assert (progress.done, progress.planned) == (6, 9)


def test_a_loop_of_ones_own_reports_its_progress(ctx, progress):
    ctx.progress(3, 10)
    assert (progress.done, progress.planned, progress.partial) == (3, 10, True)
    ctx.progress(4)
    assert (progress.done, progress.planned) == (4, 0)


@pytest.mark.parametrize(("done", "planned"), [(-1, 3), (4, 3)])
def test_an_impossible_progress_is_refused(ctx, done, planned):
    with pytest.raises(ValueError, match="0 ≤ done ≤ planned"):
        ctx.progress(done, planned)


def test_a_negative_number_of_epochs_is_refused(ctx):
    with pytest.raises(ValueError, match="epochs is -1"):
        ctx.steps("a", epochs=-1)
