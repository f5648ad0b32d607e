"""Which FederatedClients a job has, by what a watch shows of their labels."""

from __future__ import annotations

from typing import Any

import pytest

from umbel_operator import names
from umbel_operator.hub.attention import Name
from umbel_operator.hub.clients import ClientBook

ONE = ("umbel-silo-one", "job-x")


class Book(ClientBook):
    def __init__(self) -> None:
        self.heard: list[tuple[str, Name, int | None]] = []
        super().__init__(None, lambda *told: self.heard.append(told))  # type: ignore[arg-type]


@pytest.fixture
def book() -> Book:
    return Book()


def item(uid: str, version: str = "7") -> dict[str, Any]:
    labels = {names.JOB_UID: uid}
    return {"metadata": {"namespace": ONE[0], "name": ONE[1], "labels": labels, "resourceVersion": version}}


def test_a_jobs_clients_are_known_by_name_and_told_of_with_their_version(book: Book) -> None:
    book.saw("ADDED", item("a"))
    book.saw("MODIFIED", item("a", "9"))
    assert book.of("a") == {ONE}
    assert book.of("b") == frozenset()
    assert book.heard == [("a", ONE, 7), ("a", ONE, 9)]


def test_one_that_goes_is_told_of_and_forgotten(book: Book) -> None:
    book.saw("ADDED", item("a"))
    book.saw("DELETED", item("a", ""))
    assert book.of("a") == frozenset()
    assert book.heard[-1] == ("a", ONE, None)
    book.saw("DELETED", item("a"))
    assert len(book.heard) == 2


def test_one_that_a_later_job_of_the_name_made_is_that_jobs(book: Book) -> None:
    """Deleted and made anew while the watch had a gap."""
    book.saw("ADDED", item("a"))
    book.saw("MODIFIED", item("b", "9"))
    assert (book.of("a"), book.of("b")) == (frozenset(), {ONE})
    assert book.heard[1:] == [("a", ONE, None), ("b", ONE, 9)]
