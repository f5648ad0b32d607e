"""From ``module:object`` to the user's client."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

from umbel.client.api import Client


class LoadError(Exception):
    """The client cannot be had; one line that names the fault and the remedy."""


def load(reference: str, paths: Iterable[str] = ()) -> Client:
    """Import the client, with ``paths`` first on the import path. Raises LoadError.

    An exception that the module itself raises while it is imported is the cause of the LoadError.
    """
    for path in reversed(list(paths)):
        if path not in sys.path:
            sys.path.insert(0, path)
    module_name, colon, attribute = reference.partition(":")
    if not colon or not module_name or not attribute:
        raise LoadError(f"spec.app.client: {reference!r} is not module:object; write for example my.client:app")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise LoadError(_not_found(reference, module_name, error)) from error
    except Exception as error:
        raise LoadError(f"spec.app.client: importing {module_name} raised {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if isinstance(found, Client):
        return found
    if found is None:
        raise LoadError(f"spec.app.client: module {module_name} has no {attribute!r}; define it there")
    if isinstance(found, type) and issubclass(found, Client):
        raise LoadError(f"spec.app.client: {reference} is a class; name an instance, as in `app = {attribute}()`")
    raise LoadError(f"spec.app.client: {reference} is a {type(found).__name__}, not an umbel.Client")


def _not_found(reference: str, module: str, error: ModuleNotFoundError) -> str:
    if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
        return f"spec.app.client: {reference}: no module {error.name!r}; put it beside the manifest or install it"
    return f"spec.app.client: {reference}: it imports {error.name!r}, which is not installed"
