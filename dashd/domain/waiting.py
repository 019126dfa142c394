"""What an agent waits for, decided from the facts about it; the words a person reads come from here too."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from . import agent


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one agent and its surroundings at one instant."""

    agent_state: str
    wanted: str
    swarm_state: str
    stopping: bool
    """Its attempt was told to stop."""
    task: str | None
    """The task it runs."""
    ready: int
    """Ready tasks of its swarm that it may take."""
    blocked_on: tuple[str, ...]
    """Tasks that the swarm's waiting tasks wait for."""
    retry_task: str | None
    """The task that is tried again soonest."""
    working: int
    """Agents that work now, over all swarms."""
    agents_max: int
    approval: str = ""
    """The request of its own that is open."""
    asks: str = ""
    """What it wants to do."""
    unseen: bool = False
    """Nobody knows whether its program lives."""
    cause: str = ""
    """Why it was killed."""
    budget: str = ""
    """The budget that has paused it, or its swarm."""
    money: str = ""
    """Of that budget: what is wrong and what to run."""
    call: Literal["", "budget", "rate", "provider"] = ""
    """What a call of its waits for."""
    call_on: str = ""
    call_text: str = ""
    """What that waits for in words, and what to run."""
    unplaced: str = ""
    """Why no place takes its swarm's next task, and what to run."""
    follows: str = ""
    """The agent whose session its task goes on with, and that has not ended."""
    follows_text: str = ""
    """Since when that is told to stop, and what to run."""


class Waiting(msgspec.Struct, frozen=True):
    """What it waits for: a word, a sentence, and the ids concerned."""

    waits_for: str
    text: str
    on: tuple[str, ...] = ()


def explain(facts: Facts) -> Waiting:
    """The one thing that keeps the agent from going on; the nearest cause wins."""
    on_task = (facts.task,) if facts.task else ()
    if facts.agent_state in agent.MACHINE.ended:
        why = f", {facts.cause}" if facts.cause else ""
        return Waiting("nothing", f"it has ended: {facts.agent_state}{why}", on_task)
    if facts.agent_state in agent.WORKING:
        return _working(facts, on_task)
    if facts.swarm_state == "creating":
        return Waiting("approval", "its swarm has not started: it waits for an approval (approval.list)")
    if facts.budget:
        return _money(facts)
    if facts.swarm_state == "paused":
        return Waiting("pause", "its swarm is paused; resume it to go on")
    if facts.wanted == "pause":
        return Waiting("pause", "it is paused and takes no task; resume it to go on")
    if facts.ready and facts.working >= facts.agents_max:
        return Waiting(
            "slot", f"all {facts.agents_max} slots of this daemon are taken; the next free one decides"
        )
    if facts.ready and facts.unplaced:
        return Waiting("place", f"{facts.ready} ready task(s); {facts.unplaced}")
    if facts.ready:
        return Waiting("start", f"{facts.ready} ready task(s); one starts now")
    if facts.follows:
        return Waiting("predecessor", facts.follows_text, (facts.follows,))
    if facts.retry_task:
        return Waiting("retry", f"task {facts.retry_task} is tried again soon", (facts.retry_task,))
    if facts.blocked_on:
        return Waiting("dependency", "the next tasks wait for others to complete", facts.blocked_on)
    return Waiting("work", "no task is left for it; others of its swarm still work")


def _working(facts: Facts, on_task: tuple[str, ...]) -> Waiting:
    if facts.stopping or facts.wanted == "kill":
        return Waiting("end", "it was told to stop; its processes are ending", on_task)
    if facts.approval:
        paused = facts.swarm_state == "paused" or facts.agent_state == "paused" or facts.wanted == "pause"
        more = "; it is paused as well" if paused else ""
        return Waiting(
            "approval", f"it waits for approval {facts.approval}: {facts.asks}{more}", (facts.approval,)
        )
    if facts.budget:
        return _money(facts)
    if facts.swarm_state == "paused":
        return Waiting("pause", "its swarm is paused, and it with it; resume the swarm to go on", on_task)
    if facts.agent_state == "paused" or facts.wanted == "pause":
        return Waiting("pause", "it is paused in place; resume it to go on", on_task)
    if facts.agent_state == "spawning":
        return Waiting("start", "its program is being started, or waits for its turn to be", on_task)
    if facts.call:
        return Waiting(facts.call, f"its next model call waits: {facts.call_text}", (facts.call_on,))
    if facts.unseen:
        return Waiting("connection", "dashd has no connection to it; whether it works is not known", on_task)
    return Waiting("nothing", "it is working", on_task)


def _money(facts: Facts) -> Waiting:
    """Paused by a budget: to resume it would not help."""
    who = "its swarm" if facts.swarm_state == "paused" else "it"
    return Waiting("budget", f"{who} is paused by budget {facts.budget}: {facts.money}", (facts.budget,))
