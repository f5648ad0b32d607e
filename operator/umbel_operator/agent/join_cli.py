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
from umbel_operator.agent.join import JoinError, Left, Membership
from umbel_operator.agent.join_store import FileStore, SecretStore, Store
from umbel_operator.agent.join_tokens import JoinedTokens
from umbel_operator.joining import Bundle, BundleError, read_bundle
from umbel_operator.pauses import Pauses

START_SECONDS = 10.0
LEFT_SECONDS = 10.0  # between two looks of who was removed: whether there is a new bundle


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
    membership = await _membership(store, bundle, silo, stays=place.silo is not None)
    held = HubCredentials(None)
    return held, JoinedTokens(membership, store, held)


async def _membership(store: Store, bundle: Path | None, silo: str, *, stays: bool) -> Membership:
    """What may pass by itself is waited for: a pod that ends is only started again. So it ``stays`` when its silo was
    removed, too, until there is a new bundle."""
    pauses, said = Pauses(first=1.0, longest=60.0), ""
    while True:
        try:
            kept = await store.load()
            if kept is not None and kept.joined:
                _compare(kept, bundle, store)
            given = _given(bundle, kept, stays)
            membership = join.decide(kept, given, silo)
            if given is None or membership.joined:
                return membership
            done = await _joined(store, membership, given)
            logs.info("the silo has joined the hub", silo=silo)
            return done
        except Left as error:
            if not stays:
                raise CliError(str(error)) from None
            if str(error) != said:
                said = str(error)
                logs.warning("nothing is done for a hub: the silo is no member", error=said)
            await asyncio.sleep(LEFT_SECONDS)
            continue
        except JoinError as error:
            if not error.temporary:
                raise CliError(str(error)) from None
            logs.warning("the silo has not joined yet", error=str(error))
        except kube.ApiError as error:
            logs.warning("the Secret with the silo's membership was not read or written", error=str(error))
        await asyncio.sleep(pauses.next())


def _given(path: Path | None, kept: Membership | None, stays: bool) -> Bundle | None:
    """Raises CliError for one that is looked at and is none."""
    if path is None or (kept is not None and kept.joined):
        return None
    if stays and kept is not None and kept.removed and not path.exists():
        return None  # thrown away when it had been used
    return _bundle(path)


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
