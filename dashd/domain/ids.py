"""Ids: short and speakable, because models pay for every character.

    swarm 7k2m9q   agent 7k2m9q-003   its child 7k2m9q-003.1   task 7k2m9q-t12   attempt 7k2m9q-t12.2
    gateway 7k2m9q-g1   checkpoint c-7k2m9q

A launch is named after what it is launched for.
"""

import re

ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"
"""30 letters: none that are taken for another when read aloud or in a bad font, no `u`, so few words form."""
SWARM_ID_LENGTH = 6
SWARM_ID_BITS = 40
_SWARM = rf"[0-9a-z]{{{SWARM_ID_LENGTH}}}"
AGENT = re.compile(rf"{_SWARM}-[0-9]{{3,}}(?:\.[0-9]+)*")
"""An agent's id, children's too."""
GATEWAY = re.compile(rf"{_SWARM}-g[0-9]+")
"""The id of a swarm's gateway."""


def swarm_id(bits: int) -> str:
    """A swarm id from at least SWARM_ID_BITS random bits."""
    letters = []
    for _ in range(SWARM_ID_LENGTH):
        bits, index = divmod(bits, len(ALPHABET))
        letters.append(ALPHABET[index])
    return "".join(letters)


def agent_id(swarm: str, number: int) -> str:
    """The id of a swarm's agent; numbers start at 1."""
    return f"{swarm}-{number:03d}"


def child_id(parent: str, number: int) -> str:
    """The id of an agent's child; numbers start at 1."""
    return f"{parent}.{number}"


def level(agent: str) -> int:
    """How many generations an agent is below those that its swarm was made with, which are 0."""
    return agent.count(".")


def task_id(swarm: str, number: int) -> str:
    """The id of a swarm's task; numbers start at 1."""
    return f"{swarm}-t{number}"


def attempt_id(task: str, number: int) -> str:
    """The id of a task's attempt; numbers start at 1."""
    return f"{task}.{number}"


def gateway_id(swarm: str, number: int) -> str:
    """The id of a swarm's gateway; numbers start at 1."""
    return f"{swarm}-g{number}"


def checkpoint_id(bits: int) -> str:
    """A checkpoint's id, from at least SWARM_ID_BITS random bits."""
    return f"c-{swarm_id(bits)}"
