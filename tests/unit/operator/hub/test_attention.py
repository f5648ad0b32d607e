"""What is read anew: whatever came by a watch, and nothing that this process wrote itself or read since."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from umbel_operator.hub.attention import Attention, Name, Need

A, B = ("umbel-silo-a", "job-a"), ("umbel-silo-b", "job-b")
NOTHING = Need(False, False, frozenset())


def took(attention: Attention, now: float = 1000.0) -> Need:
    """What was to be read, and was, in no time."""
    need = attention.take(now, 300.0, 60.0)
    attention.looked(need, now)
    return need


def looked() -> Attention:
    """It has seen all there is: one client, at version 5."""
    attention = Attention()
    took(attention)
    attention.client_read(A, 5)
    return attention


def test_at_first_everything_is_read_and_then_nothing() -> None:
    attention = Attention()
    assert took(attention) == Need(True, True, None)
    assert not took(attention)
    attention.forget()
    assert took(attention) == Need(True, True, None)


def test_only_the_client_that_a_watch_shows_is_read() -> None:
    attention = looked()
    assert attention.client_shown(A, 6)
    assert attention.client_shown(B, 7), "a new one"
    assert not attention.client_shown(A, 6), "it is to be read already"
    assert took(attention) == Need(False, False, frozenset({A, B}))
    assert took(attention) == NOTHING


def test_an_echo_of_what_was_written_is_no_news_whenever_it_comes() -> None:
    attention = looked()
    attention.client_read(A, 6)  # the apply's answer
    assert not attention.client_shown(A, 6)
    assert attention.client_shown(A, 8), "somebody else's change"
    attention.client_read(A, 9)  # an answer that the watch overtook: it holds that change too
    assert took(attention) == NOTHING


def test_an_answer_older_than_what_was_shown_does_not_hide_it() -> None:
    attention = looked()
    attention.client_shown(A, 8)
    attention.client_read(A, 7)
    assert took(attention).clients == {A}


def test_one_that_is_gone_is_looked_for_even_if_an_answer_on_its_way_still_has_it() -> None:
    attention = looked()
    attention.client_shown(B, 7)
    took(attention)
    attention.client_gone(B)
    attention.client_read(B, 7)
    assert took(attention).clients == {B}


def test_one_that_was_deleted_here_may_still_be_going() -> None:
    attention = looked()
    attention.deleted("FederatedClient", *A)
    assert took(attention).clients == {A}


def test_a_deletion_makes_its_kind_be_looked_at() -> None:
    attention = looked()
    attention.deleted("StatefulSet", "default", "job-server")
    assert took(attention) == Need(True, False, frozenset())
    attention.deleted("Pod", "default", "job-server-0")
    assert took(attention) == Need(False, True, frozenset())


def test_time_alone_has_looked_at_what_no_watch_tells_of() -> None:
    attention = looked()
    assert took(attention, 1059.0) == NOTHING
    assert took(attention, 1061.0) == Need(False, True, frozenset())
    assert took(attention, 1301.0) == Need(True, True, frozenset())
    assert took(attention, 1302.0) == NOTHING


class Hub:
    """An API server with some clients, a watch that is late, a book of what it has shown, and an operator that keeps
    what it reads."""

    def __init__(self) -> None:
        self.version = 0
        self.there: dict[Name, int] = {}
        self.events: list[tuple[Name, int | None]] = []
        self.attention = Attention()
        self.book: set[Name] = set()
        self.cache: dict[Name, int] = {}
        self.woken = True

    def change(self, name: Name) -> int:
        self.version += 1
        self.there[name] = self.version
        self.events.append((name, self.version))
        return self.version

    def delete(self, name: Name) -> None:
        if self.there.pop(name, None):
            self.events.append((name, None))

    def deliver(self) -> None:
        if self.events:
            name, version = self.events.pop(0)
            (self.book.discard if version is None else self.book.add)(name)
            if version is None:
                self.attention.client_gone(name)
                self.woken = True
            elif self.attention.client_shown(name, version):
                self.woken = True

    def write(self, name: Name, *, heard_first: bool) -> None:
        """Its answer comes before, or after everything that the watch has to say."""
        version = self.change(name)
        while heard_first and self.events:
            self.deliver()
        self.attention.client_read(name, version)
        self.cache[name] = version

    def look(self, meanwhile: list[Any]) -> None:
        """``meanwhile``: between what is asked for and its answers."""
        self.woken = False
        need = took(self.attention)
        if need.clients is None:
            self.cache.clear()
        answers = {name: self.there.get(name) for name in (self.book if need.clients is None else need.clients)}
        for act in meanwhile:
            self.act(act)
        for name, version in answers.items():
            if version is None:
                self.cache.pop(name, None)
                self.attention.client_missing(name)
            else:
                self.cache[name] = version
                self.attention.client_read(name, version)

    def act(self, act: Any) -> None:
        match act:
            case "deliver", _:
                self.deliver()
            case "change", name:
                self.change(name)
            case "delete", name:
                self.delete(name)
            case "write", name:
                self.write(name, heard_first=False)
            case "write late", name:
                self.write(name, heard_first=True)
            case "look", meanwhile:
                self.look(meanwhile)
            case "forget", _:
                self.attention.forget()
                self.woken = True


CLIENTS = st.sampled_from([A, B])
OTHERS = st.tuples(st.sampled_from(["deliver", "change", "delete"]), CLIENTS)
ACTS = st.one_of(
    OTHERS,
    st.tuples(st.sampled_from(["write", "write late"]), CLIENTS),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("look"), st.lists(OTHERS, max_size=3)),
)


@settings(max_examples=300)
@given(st.lists(ACTS, max_size=20))
def test_once_every_event_has_come_what_is_kept_is_what_is_there(acts: list[Any]) -> None:
    hub = Hub()
    for act in acts:
        hub.act(act)
    while hub.events or hub.woken:
        while hub.events:
            hub.deliver()
        if hub.woken:
            hub.look([])
    assert hub.cache == hub.there
