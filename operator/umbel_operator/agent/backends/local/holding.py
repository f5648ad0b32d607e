"""What the agent's state directory has of one client, and what to do about it. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from umbel_operator.agent import identity
from umbel_operator.agent.backends.local.actions import Begin, Install, MakeKey, Remove, RemoveSecrets, Retain
from umbel_operator.agent.backends.local.directory import Kept
from umbel_operator.agent.backends.local.records import Owner
from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.holding import Diagnosis
from umbel_operator.agent.lifecycle import final_of
from umbel_operator.agent.plan import Clocks, Draft
from umbel_operator.agent.site import Site


class LocalHolding(ABC):
    """``client``: None when it is gone. ``folders``: what is kept of it, for this and for earlier jobs of that name;
    ``home``: where this one's is, or will be."""

    def __init__(
        self, client: FederatedClient | None, site: Site, folders: Sequence[Kept], home: Path | None, now: float
    ) -> None:
        self._asked = client
        self._site = site
        self._folders = folders
        self._home = home
        self._now = now

    @property
    def _client(self) -> FederatedClient:
        """Of one that is gone nothing is asked but `stop` and `leave`."""
        assert self._asked is not None
        return self._asked

    @property
    def _own(self) -> Kept | None:
        return next((kept for kept in self._folders if self._is_own(kept)), None)

    @property
    def key(self) -> identity.PrivateKey | None:
        own = self._own
        try:
            return identity.load_key(own.key.encode()) if own is not None and not own.owner.retained else None
        except ValueError:
            return None

    @property
    def begun(self) -> float | None:
        return self._own.begun if self._own is not None else None

    @property
    def runs(self) -> bool:
        own = self._own
        told = own is not None and own.attempt is not None and own.attempt.stopping is None
        return told and own is not None and own.report is None

    @property
    def final_round(self) -> int | None:
        own = self._own
        return final_of(own.report) if own is not None and own.report is not None else None

    @property
    def remains(self) -> bool:
        return any(kept.secrets or kept.attempt is not None or self._alive(kept) for kept in self._folders)

    @property
    @abstractmethod
    def waits(self) -> bool: ...

    @abstractmethod
    def run(self, wanted: bool, draft: Draft) -> None: ...

    @abstractmethod
    def diagnose(self, clocks: Clocks) -> Diagnosis: ...

    @abstractmethod
    def _alive(self, kept: Kept) -> bool:
        """Whether anything of it runs, or may run yet."""

    @abstractmethod
    def _end(self, kept: Kept, draft: Draft) -> bool:
        """Have what runs of it end; whether nothing does any more."""

    def clear(self, draft: Draft) -> None:
        for kept in self._folders:
            if not self._is_own(kept):
                self._put_away(kept, draft)

    def make_key(self, draft: Draft) -> None:
        assert self._home is not None
        draft.actions.append(MakeKey(self._home, Owner.of(self._client)))
        draft.look_again(0.0)

    def install(self, draft: Draft) -> None:
        own, client = self._own, self._client
        if own is not None and (own.certificate, own.authorities) != (client.certificate, client.authorities):
            draft.actions.append(Install(own.folder, client.certificate, client.authorities))

    def stop(self, draft: Draft) -> None:
        for kept in self._folders:
            if self._end(kept, draft) and kept.secrets:
                draft.actions.append(RemoveSecrets(kept.folder))

    def leave(self, draft: Draft) -> None:
        for kept in self._folders:
            self._leave(kept, draft)

    def _begin(self, own: Kept, at: float, draft: Draft) -> None:
        begin = Begin(own.folder, at)
        if own.begun is None and begin not in draft.actions:
            draft.actions.append(begin)

    def _put_away(self, kept: Kept, draft: Draft) -> None:
        if self._end(kept, draft):
            if kept.secrets:
                draft.actions.append(RemoveSecrets(kept.folder))
            self._leave(kept, draft)

    def _leave(self, kept: Kept, draft: Draft) -> None:
        if self._alive(kept):
            return
        if not self._site.retain_state:
            draft.actions.append(Remove(kept.folder))
        elif not kept.owner.retained:
            draft.actions.append(Retain(kept.folder, kept.owner))

    def _is_own(self, kept: Kept) -> bool:
        return kept.owner.job_uid == self._client.job.uid
