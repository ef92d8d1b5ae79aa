"""The one alarm that matters now, with its cause and what to do; pure.

A station that is silent can have no other trouble that we know of, and a camera that is lost explains the state. So
they are looked at in this order, and the first one found is the only one shown. Rejected: a list of alarms, of which an
operator would have to find the cause among its consequences.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.page.book import Progress
from edge.page.live import Now
from edge.page.words import Words

BEHIND = 1000  # records that the read model may lag before it is worth a word


@dataclass(frozen=True, slots=True)
class Alarm:
    """level: "critical" stops trust in the line, "warning" does not. All texts in the reader's language."""

    level: str
    what: str
    cause: str
    action: str


def alarm_of(now: Now, progress: Progress, t: Words) -> Alarm | None:
    """The alarm to show; None: all is well."""
    heartbeat = now.heartbeat or {}
    if now.is_silent or not heartbeat:
        return _told("critical", "silent", t)
    camera, state = heartbeat.get("camera_state"), heartbeat["state"]
    if camera in ("lost", "stalled"):
        return _told("critical", f"camera_{camera}", t)
    told = now.state or {}
    if state in ("critical", "degraded"):
        level = "critical" if state == "critical" else "warning"
        if "cause" in told:
            return Alarm(level, t(f"state.{state}"), told["cause"], told.get("advice", t("alarm.see_log.action")))
        return _told(level, "camera_degraded" if camera == "degraded" else f"state_{state}", t)
    if progress.trouble is not None:
        return Alarm("warning", t("alarm.book.what"), progress.trouble, t("alarm.book.action"))
    if heartbeat["head_seq"] - progress.seq > BEHIND:
        return Alarm(
            "warning",
            t("alarm.behind.what"),
            t("alarm.behind.cause", seq=progress.seq, head=heartbeat["head_seq"]),
            t("alarm.behind.action"),
        )
    return None


def _told(level: str, name: str, t: Words) -> Alarm:
    return Alarm(level, *(t(f"alarm.{name}.{part}") for part in ("what", "cause", "action")))
