"""BATCH: which batch the parts belong to, from the next one on and over restarts, until another is told.

A part belongs to the batch that was told when its trigger was taken, whenever it is inspected; without triggers, to the
one that stands when it has been. Rejected: a change of what the station runs (`Origin`), whose BIRTH would say that a
recipe changed.
"""

from __future__ import annotations

from dataclasses import asdict

from edge.core.types import Batch
from edge.history.journal import Journal
from edge.history.remembered import remember, remembered
from edge.sockets.remarks import printable
from edge.sockets.requests import Request

MOST_ID = 128
_NAME = "batch"


class Batches:
    """The batch that runs: `current`, replaced whole, so that any thread may read it."""

    def __init__(self) -> None:
        self.current = Batch()

    def reopen(self, journal: Journal) -> None:
        """As it was when the journal was last written."""
        self.current = Batch(**remembered(journal, _NAME))

    def change(self, journal: Journal, request: Request) -> str:
        """Another one from now on, remembered with its audit record; an empty `batch_id` ends the one that runs."""
        if request.facts.get("batch_id") == "":
            self.current = Batch()
            said = "no batch from the next part on"
        else:
            batch_id = printable(request, "batch_id", MOST_ID)
            product_id = printable(request, "product_id", MOST_ID) if "product_id" in request.facts else None
            self.current = Batch(batch_id, product_id)
            said = f"batch {batch_id} from the next part on"
        remember(journal, _NAME, asdict(self.current))
        return said
