"""A scripted model that works in steps whose effects can be counted, and that looks before it repeats one.

It knows nothing but what each call brings, as a model does: the item it works on, and what its tools said.
"""

import json
import re
from collections import Counter, defaultdict
from typing import Any

from dashd.domain.prices import Usage
from tests.fakes.provider import Act, Body, Provider

STEPS = 3
_ITEM = re.compile(r"Your item: (\S+)")
_DID = re.compile(r"did (\d+)$", re.MULTILINE)


def item_of(body: Body) -> str:
    """What the call is about."""
    found = _ITEM.search("\n".join(_texts(body)).replace("\\n", "\n"))
    assert found is not None, body["messages"]
    return found[1]


def _texts(body: Body) -> list[str]:
    return [json.dumps(message.get("content")) for message in body["messages"] if message["role"] == "user"]


class Stepping(Provider):
    """Each step appends its number to the item's file, waits, and says so; lost words are looked up there."""

    def __init__(self, done: Act, *, tool: str, wait: str = "sleep 0.5", steps: int = STEPS) -> None:
        """`done` is its last word; `tool` is the shell's name."""
        super().__init__(self._act)
        self._done = done
        self._tool = tool
        self._wait = wait
        self._steps = steps
        self.used: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        """Tokens of each call that it was asked for, by item: (input, output)."""
        self.looked: Counter[str] = Counter()
        """How often it had to look, by item."""

    def _act(self, _number: int) -> Act:
        body = self.bodies[-1]
        item, said = item_of(body), [_said(each) for each in body["messages"] if each["role"] == "tool"]
        done = max((int(step) for text in said for step in _DID.findall(text)), default=0)
        if said and not _DID.search(said[-1]):
            self.looked[item] += 1
            return self._runs(f"for each in $(cat {item}.marks); do echo did $each; done; echo did {done}")
        if done >= self._steps:
            return self._done
        return self._runs(f"echo {done + 1} >> {item}.marks; {self._wait}; echo did {done + 1}")

    def _runs(self, command: str) -> Act:
        return Act(text="I go on.", tool=(self._tool, {"command": command}))

    def _used(self, act: Act, body: Body, raw: bytes) -> Usage:
        used = super()._used(act, body, raw)
        self.used[item_of(body)].append((used.input, used.output))
        return used


def _said(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or "") for part in content or ())
