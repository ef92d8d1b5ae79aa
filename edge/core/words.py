"""The words of verdicts and alerts: closed lists, the same in the code, in bundles and on the wire.

Apart from the nouns that use them (`edge.core.types`), because whoever only reads records needs no NumPy.
"""

from __future__ import annotations

from enum import Enum


class Advice(str, Enum):
    """What to make of a bundle, before its first part."""

    USE = "use"
    CARE = "care"
    DO_NOT = "do_not"


class Verdict(str, Enum):
    """What the inspection says of a part or frame."""

    GOOD = "good"
    DEFECTIVE = "defective"
    UNDECIDED = "undecided"


class Reason(str, Enum):
    """Why a verdict is UNDECIDED; the wire's closed list."""

    HEALTH_GATE = "health_gate"
    NON_FINITE = "non_finite"
    ENGINE_ERROR = "engine_error"
    LATE = "late"
    GAP = "gap"
    QUEUE_FULL = "queue_full"
    REVIEW = "review"  # inspected, with a score in the review zone: a person should look


class GapCause(str, Enum):
    """Why frames were never inspected."""

    OVERWRITTEN = "overwritten"
    CAMERA_LOST = "camera_lost"
    QUEUE_FULL = "queue_full"
    UNREADABLE = "unreadable"
    NOT_JOURNALED = "not_journaled"
    NO_FRAME = "no_frame"
    LOST_IN_TRANSFER = "lost_in_transfer"  # the camera counted them, they never arrived


class Term(str, Enum):
    """The two terms of the anomaly score (§3.3)."""

    REGRESSION_ERROR = "regression_error"
    PREDICTIVE_UNCERTAINTY = "predictive_uncertainty"


class Neighbours(str, Enum):
    """The two maps of distances to the nearest good descriptor: of early and of late features."""

    SHALLOW = "shallow"
    DEEP = "deep"


class Scale(str, Enum):
    """What a score of 1 stands for: a standard deviation of good places above their mean, or their .995 quantile."""

    DEVIATIONS = "deviations"
    QUANTILES = "quantiles"

    @property
    def unit(self) -> str:
        """For people: what is behind a score."""
        return "deviations above normal" if self is Scale.DEVIATIONS else "1 = the .995 quantile of good places"


class Acquisition(str, Enum):
    """`triggered`: one frame is one part. `free`: frames are not parts; alerts group them."""

    TRIGGERED = "triggered"
    FREE = "free"


class AlertKind(str, Enum):
    """What an alert says."""

    DEFECT = "defect"
    CLEARED = "cleared"
    UNDECIDED = "undecided"
