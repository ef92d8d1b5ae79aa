"""What distances to neighbours say on the wire: in the words of 1.0, with new fields beside them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from edge.core.types import DrivenBy, Neighbours, NeighbourScore, Reason, Scale, Term
from edge.wire.encoding import to_body, to_frames
from edge.wire.messages import decode
from edge.wire.recording import birth_record, result_record
from edge.wire.soundness import problem_with, sendable
from tests.edge import samples

DEEP = DrivenBy(371, Term.REGRESSION_ERROR, Neighbours.DEEP)


def test_what_a_distance_drove_is_told_as_an_error_with_its_map_beside_it() -> None:
    found = samples.defective(
        defects=(replace(samples.defect(), driven_by=DEEP),),
        scales=(),
        neighbours=(NeighbourScore(Neighbours.SHALLOW, 0.5, 0.25), NeighbourScore(Neighbours.DEEP, 1.5, 0.75)),
    )
    frames = to_frames(result_record(samples.origin(), samples.stamp(), found))
    body = decode(frames).body
    assert body["defects"][0]["driven_by"] == {"patch_size": 371, "term": "regression_error", "neighbours": "deep"}
    assert body["scales"] == []
    assert body["neighbours"] == [
        {"map": "shallow", "distance": 0.5, "weight": 0.25},
        {"map": "deep", "distance": 1.5, "weight": 0.75},
    ]


def test_a_bundle_without_neighbours_says_nothing_of_them() -> None:
    body = to_body(result_record(samples.origin(), samples.stamp(), samples.defective()))
    assert "neighbours" not in body and "neighbours" not in json.dumps(body["defects"])


def test_birth_says_which_scale_scores_are_on() -> None:
    born = birth_record(samples.origin(score_scale=Scale.QUANTILES), samples.stamp())
    assert decode(to_frames(born)).body["score_scale"] == "quantiles"
    assert "score_scale" not in to_body(birth_record(samples.origin(), samples.stamp()))


def test_a_distance_that_is_no_number_makes_the_part_undecided() -> None:
    broken = samples.good(neighbours=(NeighbourScore(Neighbours.DEEP, math.nan, 1.0),))
    problem = problem_with(broken)
    assert problem is not None and problem[0] is Reason.NON_FINITE
    assert problem_with(sendable(broken)) is None and sendable(broken).neighbours == ()
