"""What federated averaging has to give, the slow way: every update held, tensor by tensor, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umbel.wire.layout import Layout

from .speaking import Flat


def assert_is_the_mean(
    down: Layout, up: Layout, before: Flat, after: Flat, accepted: Sequence[tuple[Flat, int]]
) -> None:
    """``after`` = ``before`` + Σ n·d / Σ n over exactly the ``accepted`` (update, examples)."""
    old, new = down.views(before), down.views(after)
    updates = [up.views(update) for update, _ in accepted]
    weights = [float(examples) for _, examples in accepted]
    for tensor in down.tensors:
        moved = np.average([u[tensor.name].astype(np.float64) for u in updates], axis=0, weights=weights)
        expected = old[tensor.name].astype(np.float64) + moved
        got = new[tensor.name].astype(np.float64)
        if old[tensor.name].dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6, err_msg=tensor.name)
        else:
            np.testing.assert_allclose(got, expected, rtol=0, atol=0.501, err_msg=tensor.name)
