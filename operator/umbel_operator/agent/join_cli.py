"""``umbel agent join``, and where `umbel agent run` finds its access to the hub."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import click

from umbel.cli.errors import CliError
from umbel_operator import kube, logs
from umbel_operator.agent import credentials, join, join_client
from umbel_operator.agent.backends.choice import Place, default_directory
from umbel_operator.agent.credentials import HubCredentials, Tokens, TokenStore
from umbel_operator.agent.join import JoinError, Membership
from umbel_operator.agent.join_store import FileStore, SecretStore, Store
from umbel_operator.agent.join_tokens import JoinedTokens
from umbel_operator.agent.pauses import Pauses
from umbel_operator.joining import Bundle, BundleError, read_bundle

START_SECONDS = 10.0


@click.command("join")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--state-dir", type=click.Path(path_type=Path), help="As for `umbel agent run`. Default: ~/.local/state/umbel/SILO."
)
def join_command(bundle: Path, state_dir: Path | None) -> None:
    """Join the hub that made BUNDLE, once. `umbel agent run` then needs nothing more.

    The agent's key is made here and stays here.
    """
    found = _bundle(bundle)
    store = FileStore(state_dir or default_directory(found.silo))
    try:
        done = asyncio.run(_join_once(store, found))
    except JoinError as error:
        raise CliError(str(error)) from None
    click.echo(f"silo {done.silo} has joined the hub at {done.url}; what it needs there is in {store.path}")


async def _join_once(store: FileStore, bundle: Bundle) -> Membership:
    kept = await store.load()
    if kept is not None and kept.joined:
        other = join.another_hub(kept, bundle, store.where)
        raise JoinError(other or f"silo {kept.silo} has joined already ({store.path}); run its agent")
    return await _joined(store, join.decide(kept, bundle, None), bundle)


async def _joined(store: Store, membership: Membership, bundle: Bundle) -> Membership:
    """The key is kept before the token is used: if the answer is lost, the same may be asked again."""
    await store.save(membership)
    done = await join_client.join(membership, bundle.token, time.time())
    await store.save(done)
    return done


async def access(
    hub: Path | None, bundle: Path | None, hub_secret: str, state_dir: Path | None, place: Place, silo: str
) -> tuple[HubCredentials, Tokens]:
    """By the kubeconfig ``hub``, if one is named; else as a silo that has joined, or joins now by ``bundle``. Raises
    CliError, AccessError."""
    if hub is not None:
        held = HubCredentials(hub)
        if place.silo is not None and hub_secret:
            await _fetch(place.silo, place.namespace, hub_secret, held)
        return held, TokenStore(held, place.silo, place.namespace, hub_secret)
    store: Store = FileStore(state_dir or default_directory(silo))
    if place.silo is not None and hub_secret:
        store = SecretStore(place.silo, place.namespace, hub_secret)
    membership = await _membership(store, bundle, silo)
    held = HubCredentials(None)
    return held, JoinedTokens(membership, store, held)


async def _membership(store: Store, bundle: Path | None, silo: str) -> Membership:
    """What may pass by itself is waited for: a pod that ends is only started again."""
    pauses = Pauses(first=1.0, longest=60.0)
    while True:
        try:
            kept = await store.load()
            if kept is not None and kept.joined:
                _compare(kept, bundle, store)
            given = None if bundle is None or (kept is not None and kept.joined) else _bundle(bundle)
            membership = join.decide(kept, given, silo)
            if given is None or membership.joined:
                return membership
            done = await _joined(store, membership, given)
            logs.info("the silo has joined the hub", silo=silo)
            return done
        except JoinError as error:
            if not error.temporary:
                raise CliError(str(error)) from None
            logs.warning("the silo has not joined yet", error=str(error))
        except kube.ApiError as error:
            logs.warning("the Secret with the silo's membership was not read or written", error=str(error))
        await asyncio.sleep(pauses.next())


def _compare(kept: Membership, path: Path | None, store: Store) -> None:
    """Whoever was handed another hub's bundle would otherwise wait for a silo that never comes."""
    with contextlib.suppress(BundleError):  # who has joined needs none
        other = None if path is None else join.another_hub(kept, read_bundle(path), store.where)
        if other is not None:
            logs.warning("the bundle is of another hub", silo=kept.silo, error=other)


def _bundle(path: Path) -> Bundle:
    try:
        return read_bundle(path)
    except BundleError as error:
        raise CliError(str(error)) from None


async def _fetch(silo: kube.Kube, namespace: str, secret: str, held: HubCredentials) -> None:
    """A Secret that cannot be read now is waited for a little: the file of --hub may be long out of date."""
    for _ in range(int(START_SECONDS)):
        try:
            await credentials.fetch(silo, namespace, secret, held)
            return
        except kube.ApiError as error:
            logs.warning("the Secret with the kubeconfig was not read", name=secret, error=str(error))
        await asyncio.sleep(1)
