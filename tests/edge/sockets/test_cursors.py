"""Where consumers are, when the journal could not be written for a while."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge.history import consumers
from edge.history.database import JournalError
from edge.history.journal import IN_MEMORY, Journal
from edge.sockets.cursors import Cursors
from edge.sockets.requests import Request
from tests.edge.history.records import write


@pytest.fixture
def journal() -> Iterator[Journal]:
    opened = Journal(IN_MEMORY)
    yield opened
    opened.close()


def request(verb: str, **facts: Any) -> Request:
    return Request(b"peer", verb, b"1", facts)


def test_who_said_hello_while_the_disk_was_full_is_remembered_with_the_next_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, cursors = write(journal, 5), Cursors(journal)

    def full() -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(journal, "_write", full)
        cursors.hello(request("HELLO", consumer="mes"))
        with pytest.raises(JournalError):
            journal.commit()
    cursors.hello(request("HELLO", consumer="mes"))
    journal.commit()
    answer = cursors.ack("mes", request("ACK", seq=5, epoch=journal.epoch.hex(), result_id=ids[4]))
    journal.commit()
    assert answer.verb == "ACKED"
    assert consumers.acknowledged(journal) == {"mes": answer.position}
