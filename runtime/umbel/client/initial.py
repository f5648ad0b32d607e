"""The initial model, made by the app's `initial` in a process of its own.

``python -m umbel.client.initial --client module:object --seed N --config JSON --path FOLDER --local-parameters JSON
--out FILE`` writes a safetensors file whose metadata lists the buffers. No data is near it, and user code cannot touch
the memory of the server.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from umbel import lifeline
from umbel.client.api import Buffer, Client, Unsupported
from umbel.client.context import Context, Scalar
from umbel.client.files import write_tensors
from umbel.client.loader import LoadError, load
from umbel.client.seeding import seed_globals
from umbel.wire.layout import DTYPES, Array, matches


class InitialError(Exception):
    """`initial` gave no model; one line."""


def make(app: Client, seed: int, config: Mapping[str, Scalar]) -> tuple[dict[str, Array], list[str]]:
    """(arrays by name, names of the buffers). Raises InitialError, and whatever `initial` raises."""
    seed_globals(seed, 0, "")
    returned = app.initial(Context(config=config, seed=seed))
    if not isinstance(returned, Mapping) or not returned:
        raise InitialError(f"`initial` returned {type(returned).__name__}; return a dict of arrays by name")
    buffers = [name for name, value in returned.items() if isinstance(value, Buffer)]
    return {name: _array(name, value) for name, value in returned.items()}, buffers


def _array(name: Any, value: Any) -> Array:
    if not isinstance(name, str):
        raise InitialError(f"`initial` returned the name {name!r}; names are strings")
    array = np.asarray(value.array if isinstance(value, Buffer) else value, order="C")
    if array.dtype.name not in DTYPES:
        raise InitialError(f"`initial` returned {name!r} as {array.dtype}; use one of {', '.join(DTYPES)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InitialError(f"`initial` returned {name!r} with a value that is not finite")
    return array


def shared(
    arrays: Mapping[str, Array], buffers: Iterable[str], local: Iterable[str]
) -> tuple[dict[str, Array], list[str]]:
    """Less what stays in the silos. Raises InitialError when nothing is left."""
    patterns = list(local)
    left = {name: array for name, array in arrays.items() if not matches(name, patterns)}
    if not left:
        raise InitialError("spec.model.localParameters matches every tensor; leave something to share")
    return left, [name for name in buffers if name in left]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m umbel.client.initial", description=__doc__)
    parser.add_argument("--client", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=json.loads, default={})
    parser.add_argument("--path", action="append", default=[])
    parser.add_argument("--local-parameters", type=json.loads, default=[])
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with the fault as the last line of stderr (after the traceback, if user code raised)."""
    given = _parse(arguments)
    try:
        app = load(given.client, given.path)
        arrays, buffers = shared(*make(app, given.seed, given.config), given.local_parameters)
        write_tensors(given.out, arrays, {"buffers": json.dumps(buffers)})
    except (LoadError, InitialError, Unsupported) as error:
        if isinstance(error.__cause__, Exception) and not isinstance(error.__cause__, ImportError):
            traceback.print_exception(error.__cause__)
        print(f"umbel: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        traceback.print_exc()
        print(f"umbel: `initial` raised {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    lifeline.hold()
    sys.exit(main())
