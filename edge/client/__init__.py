"""The consumer's side, for a PLC or MES programmer; needs pyzmq and nothing else. These names are the public ones."""

from edge.client.consumer import Consumer, RecordsLost
from edge.client.control import Control, NoAnswer, ask
from edge.client.feed import Liveness, Noticed, SequenceChecker, Subscription, subscribe
from edge.client.gate import Gate, GateAnswer
from edge.client.replay_link import Cursor, HistoryForked, ReplayDenied, ReplaySilent

__all__ = [
    "Consumer",
    "Control",
    "Cursor",
    "Gate",
    "GateAnswer",
    "HistoryForked",
    "Liveness",
    "NoAnswer",
    "Noticed",
    "RecordsLost",
    "ReplayDenied",
    "ReplaySilent",
    "SequenceChecker",
    "Subscription",
    "ask",
    "subscribe",
]
