"""All that a station keeps, read once from its beginning; nothing is acknowledged, so nobody's place moves."""

from __future__ import annotations

from collections.abc import Iterator

from edge.client.replay_link import Cursor, ReplayLink, Welcome
from edge.wire.messages import Message

_AT_ONCE = 1000


def history(link: ReplayLink, welcome: Welcome) -> Iterator[Message]:
    """Every record after the cursor of `welcome`, up to where history ended then; ReplayError if it cannot be read."""
    position, head = welcome.cursor, (welcome.head.epoch, welcome.head.seq)
    while (position.epoch, position.seq) != head:
        fetched = link.fetch(position, max_messages=_AT_ONCE)
        for message in fetched.messages:
            yield message
            position = Cursor.of(message)
            if (position.epoch, position.seq) == head:
                return
        if not fetched.messages:
            return
