"""What somebody knows who only listens: the state of every swarm, agent and task, from the events alone."""

from collections.abc import Iterable
from typing import Any

TASK = {
    "task.created": ("waiting", "ready"),
    "task.ready": ("ready",),
    "task.assigned": ("running",),
    "task.started": ("running",),
    "task.failed": ("retrying", "dead"),
    "task.completed": ("completed",),
    "task.retrying": ("retrying",),
    "task.cancelled": ("cancelled",),
    "task.dead": ("dead",),
}
AGENT = {
    "agent.spawned": ("idle",),
    "agent.started": ("running",),
    "agent.paused": ("paused",),
    "agent.resumed": ("running",),
    "agent.completed": ("completed",),
    "agent.failed": ("failed",),
    "agent.killed": ("killed",),
    "task.assigned": ("spawning",),
}
SWARM = {
    "swarm.created": ("active",),
    "swarm.paused": ("paused",),
    "swarm.resumed": ("active",),
    "swarm.completed": ("completed",),
    "swarm.failed": ("failed",),
    "swarm.destroyed": ("destroyed",),
}


def states(events: Iterable[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """By id, the states that each can be in after its last event; mostly one."""
    told: dict[str, tuple[str, ...]] = {}
    for event in events:
        kind = event["kind"]
        if kind in TASK:
            told[event["task"]] = TASK[kind]
        if kind in AGENT:
            told[event["agent"]] = AGENT[kind]
        if kind in SWARM:
            told[event["swarm"]] = SWARM[kind]
        if kind == "agent.status" and "state" in event.get("data", {}):
            told[event["agent"]] = (event["data"]["state"],)
    return told
