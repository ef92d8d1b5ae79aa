"""The words that a PLC and a gateway exchange, whatever protocol carries them: bits, codes, what is asked and shown.

A PLC programmer knows the bits from other cameras: TriggerReady, TriggerAck, ResultsValid, ResultsAck, Overrun. Each
member's `text` is what registers.md says of it. Rejected: words of our own for what has a name.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from edge.core.words import Reason, Term


class Control(IntFlag):
    """What the PLC asks, bit by bit."""

    TRIGGER_ENABLE = 1 << 0
    TRIGGER = 1 << 1
    BUFFER_RESULTS_ENABLE = 1 << 2
    RESULTS_ACK = 1 << 3
    EXECUTE_COMMAND = 1 << 4
    CLEAR_ERROR = 1 << 5
    CHALLENGE_BEGIN = 1 << 6


class Status(IntFlag):
    """What the gateway says, bit by bit."""

    ONLINE = 1 << 0
    TRIGGER_READY = 1 << 1
    TRIGGER_ACK = 1 << 2
    BUSY = 1 << 3
    RESULTS_VALID = 1 << 4
    PASS = 1 << 5
    FAIL = 1 << 6
    UNDECIDED = 1 << 7
    OVERRUN = 1 << 8
    COMMAND_EXECUTING = 1 << 9
    COMMAND_COMPLETED = 1 << 10
    COMMAND_FAILED = 1 << 11
    ERROR = 1 << 12
    CHALLENGE_DUE = 1 << 13
    DEGRADED = 1 << 14
    MISSED_TRIGGER = 1 << 15


class Code(IntEnum):
    """ErrorCode: why TriggerReady is 0, or what was refused last."""

    NONE = 0
    NO_CONTACT = 1
    CAMERA = 2
    STATION = 3
    RECIPE_REFUSED = 4
    NOT_TRIGGERED = 5
    PLC_SILENT = 6
    RECIPE_NOT_EXPECTED = 7
    RECIPE_CHANGED = 8
    SIMULATED = 9
    CLOCK_NOT_COPIED = 10
    TEXT = 11
    TRIGGER_REFUSED = 12
    CHALLENGE_REFUSED = 13


class Evaluation(IntEnum):
    """Result: as `result_evaluation` on the wire; NONE while there is none."""

    NONE = 0
    OK = 1
    NOT_OK = 2
    NOT_DECIDABLE = 3


class Cause(IntEnum):
    """Reason: why a part is undecided. Up to 99 the station says so, from 100 on the gateway."""

    NONE = 0
    HEALTH_GATE = 1
    NON_FINITE = 2
    ENGINE_ERROR = 3
    LATE = 4
    GAP = 5
    QUEUE_FULL = 6
    REVIEW = 7
    OTHER = 99
    NO_RESULT = 100
    REFUSED = 101
    ANOTHER_RECIPE = 102
    SIMULATED = 103
    NOT_READY = 104
    ANOTHER_PART = 105


CAUSES = {reason: Cause[reason.name] for reason in Reason}
TERMS = {Term.REGRESSION_ERROR.value: 1, Term.PREDICTIVE_UNCERTAINTY.value: 2}
NEIGHBOURS = 3  # the term of what the distance to the nearest good descriptor drove
