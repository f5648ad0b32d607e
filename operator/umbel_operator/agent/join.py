"""A silo's membership of a hub: what its agent keeps, and when a bundle is used. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from umbel_operator import joining
from umbel_operator.agent.identity import new_key
from umbel_operator.joining import Bundle


class JoinError(Exception):
    """One line: what is wrong, what would be right. ``temporary``: the same may go well later."""

    def __init__(self, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


class Removed(JoinError):
    """The hub says that this agent does not speak for the silo any more."""


class Left(JoinError):
    """The silo was removed, which this agent knows already, and there is no new bundle."""


@dataclass(frozen=True, slots=True)
class Membership:
    """``key``: PEM, made here, and never sent. ``certificate``, ``kubeconfig``: empty until the hub has let the agent
    in. ``token_hash``: of the token that was used, which is never used again."""

    silo: str
    url: str
    trust_domain: str
    authorities: str
    key: str
    token_hash: str
    certificate: str = ""
    kubeconfig: str = ""
    removed: bool = False

    @property
    def joined(self) -> bool:
        return bool(self.kubeconfig) and not self.removed

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def given(self, certificate: str, authorities: str, kubeconfig: str) -> Membership:
        return replace(self, certificate=certificate, authorities=authorities, kubeconfig=kubeconfig)

    def left(self) -> Membership:
        """Of what could be used, nothing stays."""
        return replace(self, key="", certificate="", kubeconfig="", removed=True)


def read(text: str, where: str) -> Membership:
    """Raises JoinError."""
    try:
        return Membership(**json.loads(text))
    except (ValueError, TypeError):
        raise JoinError(
            f"{where}: is not what an agent has kept there; remove it, and join with a new bundle"
        ) from None


def another_hub(kept: Membership, bundle: Bundle, where: str) -> str | None:
    """What to say of a bundle that invites to another hub than the one that was joined, kept at ``where``."""
    if (kept.url, kept.trust_domain) == (bundle.url, bundle.trust_domain):
        return None
    return (
        f"this silo has joined the hub at {kept.url} ({kept.trust_domain}), and the bundle is of the hub at "
        f"{bundle.url} ({bundle.trust_domain}), and not used; to go there, remove {where}, and start the agent again"
    )


def decide(kept: Membership | None, bundle: Bundle | None, silo: str | None) -> Membership:
    """The membership to go on with; one that has not `joined` has to, by the bundle. ``silo``: of the site file, where
    there is one. Raises JoinError.

    Whoever has joined never looks at the bundle again: a manifest that is applied anew still holds it.
    """
    for found, what in ((kept, "this agent has joined"), (bundle, "the bundle is")):
        if found is not None and silo is not None and found.silo != silo:
            raise JoinError(f"{what} for silo {found.silo}, and the site file is of silo {silo}; use the one's own")
    if kept is not None and kept.joined:
        return kept
    if bundle is None:
        if kept is not None and kept.removed:
            raise Left(f"silo {kept.silo} was removed from the hub; to take part again, join with a new bundle")
        raise JoinError("this silo has not joined: run `umbel agent join BUNDLE`, or name the bundle by --join")
    used = joining.hashed(bundle.token)
    if kept is not None and kept.token_hash == used:
        if kept.removed:
            raise Left(f"silo {kept.silo} was removed from the hub, and this bundle was used; ask for a new one")
        return kept  # its answer was lost: the hub knows the key
    return Membership(bundle.silo, bundle.url, bundle.trust_domain, bundle.authorities, new_key().decode(), used)
