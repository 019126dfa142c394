"""A scripted model with a part for each item: no task depends on another's calls."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from dashd.domain.prices import Usage
from tests.fakes.provider import Act, Body, Provider

from .stepping import item_of


class Casting(Provider):
    """Each item's calls get the acts of its part one after the other, the last one for ever."""

    def __init__(self, parts: Mapping[str, Sequence[Act]]) -> None:
        super().__init__(self._act)
        self.parts = dict(parts)
        self.asked: Counter[str] = Counter()
        self.seen: dict[str, Body] = {}
        """The last call of each item."""
        self.used: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        """Tokens of each call that was answered whole, by item: (input, output)."""

    def _act(self, _number: int) -> Act:
        body = self.bodies[-1]
        item = item_of(body)
        part = self.parts[item]
        act = part[min(self.asked[item], len(part) - 1)]
        self.asked[item] += 1
        self.seen[item] = body
        return act

    def _used(self, act: Act, body: Body, raw: bytes) -> Usage:
        used = super()._used(act, body, raw)
        if act.status == 200 and act.cut_at is None and act.stall_at is None and not act.delay_s:
            self.used[item_of(body)].append((used.input, used.output))
        return used

    def roles(self, item: str) -> list[str]:
        """Who says what in the last call of an item."""
        return [message["role"] for message in self.seen[item]["messages"]]
