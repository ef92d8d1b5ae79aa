"""A sample that nothing was chosen of by how it scored: each part's evidence is drawn by its record's id.

A rejected part's picture is always kept, a good one's by that draw. So of the parts that were drawn all pictures are
kept whatever the verdict, as long as no good one was dropped again; those before that are left out, good and rejected.
What is not good does not belong to it, and only people can say what a rejected part was: each needs its label. Without
the falsely rejected ones a threshold would be set on what the one before had passed. Rejected: evidence of good parts
as it lies there (just that), and rejected parts at their share (nobody knows which of them are good).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.station_history import Chosen, Said, Seen, StationHistory
from edge.core.collected import FALSE_REJECT, CollectionError
from edge.pictures.evidence import drawn_at

NOT_GOOD = ("reject", "scrap", "rework")  # dispositions
BAD = ("true_reject", "rework")  # labels
TAIL = 8  # parts whose evidence may not have been told when the station was asked
_NAMED = 8


def is_drawn(body: Mapping[str, Any], share: float) -> bool:
    """Whether this result is of a part that was inspected, and drawn whatever it is."""
    return body["kind"] == "result" and "anomaly_score" in body and drawn_at(body["result_id"]) < share


def sampled(station: StationHistory) -> Chosen:
    """The good ones of all drawn parts; CollectionError where pictures are missing, or a rejected part has no label."""
    drawn = _whole([station.seen(result_id) for result_id in station.results])
    known = [(seen, _is_good(seen, station.said.get(seen.result_id))) for seen in drawn]
    unlabelled = [seen.name for seen, is_good in known if is_good is None]
    if unlabelled:
        more = f" and {len(unlabelled) - _NAMED} more" if len(unlabelled) > _NAMED else ""
        raise CollectionError(
            f"{len(unlabelled)} rejected parts of the sample have no label: {', '.join(unlabelled[:_NAMED])}{more}; "
            f"say of each whether it was good (FEEDBACK … label={FALSE_REJECT}) or not, or end it before them: --until"
        )
    return Chosen([seen for seen, is_good in known if is_good], ())


def _is_good(seen: Seen, said: Said | None) -> bool | None:
    """None where nobody knows: the part was rejected, and people did not say that it was good, or was not."""
    disposition, label = ("unknown", None) if said is None else (said.disposition, said.label)
    if disposition in NOT_GOOD:
        return False
    if seen.is_good or label == FALSE_REJECT:
        return True
    return False if label in BAD else None


def _whole(drawn: Sequence[Seen]) -> Sequence[Seen]:
    """From where on no picture is missing; CollectionError where one is missing among others that are there."""
    end = len(drawn)
    while end and len(drawn) - end < TAIL and not drawn[end - 1].uri:
        end -= 1
    missing = [place for place in range(end) if not drawn[place].uri]
    if not missing:
        return drawn[:end]
    last = missing[-1]
    has_good = [any(seen.is_good and seen.uri for seen in some) for some in (drawn[:last], drawn[last + 1 : end])]
    if has_good != [False, True]:
        raise CollectionError(
            f"{len(missing)} of {end} drawn parts have no picture, the last {drawn[last].name} of "
            f"{drawn[last].body['created']}: ask for a --sample no larger than the station's --evidence-good-share, or "
            "--since later than that"
        )
    return drawn[last + 1 : end]
