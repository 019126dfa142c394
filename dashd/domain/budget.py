"""How much one model call may hold, and when it must wait or is refused; integers alone. Pure.

A node of the tree (project > swarm > agent > child > task) has limits (nano-dollars, tokens), what is held
for calls under way and what was spent. A call holds its worst case on its node and on every node above it,
or on none. Limits are caps, not transfers: the sum of the children's limits may exceed the parent's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

NUSD = 1_000_000_000
"""Nano-dollars in a dollar."""
USEFUL_OUTPUT_TOKENS = 256
"""A call with room for fewer output tokens than this is not worth making, unless configured otherwise."""
LIMIT_NUSD_MAX = 10_000 * NUSD
"""No budget's limit is above it, however it came about."""
TOKENS_MAX = 10**12
DEFAULT_CEILING_NUSD = LIMIT_NUSD_MAX
THRESHOLDS = (75, 90, 100)


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it stands."""

    id: str
    limit: int | None
    reserve: int
    held: int
    spent: int
    live: int
    """Agents under this node that have not ended; at least 1."""
    frozen: str | None
    limit_tokens: int | None = None
    held_tokens: int = 0
    spent_tokens: int = 0
    need: int | None = None
    """The least that the call must hold which it has refused last; None where one has fit since."""
    need_tokens: int | None = None

    @property
    def usable(self) -> int | None:
        """What calls may use in all: the limit less what is kept back for scaling."""
        return None if self.limit is None else max(0, self.limit - self.reserve)

    @property
    def headroom(self) -> int | None:
        """What is left to spend, holds not subtracted; None without a limit."""
        usable = self.usable
        return None if usable is None else max(0, usable - self.spent)


@dataclass(frozen=True, slots=True)
class CallCost:
    """What a call can cost at worst."""

    input: int
    """Its whole input at the dearest class, per-request fee included."""
    output_each: int
    """One output token at the dearest class."""
    output_tokens: int
    """What was asked for, or what the model can do at most."""
    input_tokens: int = 0
    """The most tokens its input can be; counts where a node limits tokens."""
    useful_tokens: int = USEFUL_OUTPUT_TOKENS

    def at(self, output_tokens: int) -> int:
        """The worst case with so much output."""
        return self.input + self.output_each * output_tokens

    @property
    def least(self) -> int:
        """The smallest useful call."""
        return self.at(self.least_output)

    @property
    def least_output(self) -> int:
        """The output tokens of the smallest useful call."""
        return min(self.output_tokens, self.useful_tokens)


class Grant(msgspec.Struct, frozen=True):
    """The call may go: it holds `amount`, and its output is capped at `output_tokens`."""

    amount: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Only other calls' holds are in the way; ask again when one of them settles."""

    on: str


class Refuse(msgspec.Struct, frozen=True):
    """The smallest useful call does not fit what is left."""

    node: str
    reason: Literal["spent", "tokens", "frozen"]


class _Measure(msgspec.Struct, frozen=True):
    """One limit of one node against one call: dollars or tokens, the arithmetic is the same."""

    reason: Literal["spent", "tokens"]
    usable: int
    held: int
    spent: int
    fixed: int
    """What the call takes before its first output token."""
    each: int
    """What an output token takes."""

    @property
    def headroom(self) -> int:
        return max(0, self.usable - self.spent)

    def least(self, call: CallCost) -> int:
        return self.fixed + self.each * call.least_output

    def output_within(self, amount: int, asked: int) -> int:
        """How many output tokens fit into `amount`, `asked` at most."""
        return min(asked, (amount - self.fixed) // self.each) if self.each else asked


def _measures(node: Node, call: CallCost) -> list[_Measure]:
    """The limits that the node has; a node may limit dollars, tokens, both or neither."""
    found = []
    if node.usable is not None:
        found.append(_Measure("spent", node.usable, node.held, node.spent, call.input, call.output_each))
    if node.limit_tokens is not None:
        tokens = (node.limit_tokens, node.held_tokens, node.spent_tokens)
        found.append(_Measure("tokens", *tokens, call.input_tokens, 1))
    return found


def decide(path: Sequence[Node], call: CallCost) -> Grant | Wait | Refuse:
    """What becomes of a call on `path`, its own node first, the root last.

    It may hold at most `max(smallest useful call, headroom / live agents)` at the tightest node, so that no
    call starves its siblings; `max_tokens` is lowered to fit. It waits where only holds are in the way, and
    is refused only where what is spent leaves no room for the smallest useful call.
    """
    output = call.output_tokens
    for node in path:
        if node.frozen:
            return Refuse(node.id, "frozen")
        for measure in _measures(node, call):
            least = measure.least(call)
            if least > measure.headroom:
                return Refuse(node.id, measure.reason)
            share = max(least, measure.headroom // max(1, node.live))
            output = measure.output_within(share, output)
    for node in path:
        for measure in _measures(node, call):
            free = max(0, measure.usable - measure.spent - measure.held)
            if measure.least(call) > free:
                return Wait(node.id)
            output = measure.output_within(free, output)
    return Grant(call.at(output), output)


def fits(node: Node, nusd: int, tokens: int) -> bool:
    """Whether a call that must hold so much fits what is left, once nothing is held any more."""
    tokens_left = None if node.limit_tokens is None else node.limit_tokens - node.spent_tokens
    return (node.headroom is None or nusd <= node.headroom) and (tokens_left is None or tokens <= tokens_left)


def passed(spent: int, limit: int | None) -> int:
    """The highest threshold that is passed; 0 where none is, or nothing is limited."""
    return max((mark for mark in THRESHOLDS if limit is not None and spent * 100 >= limit * mark), default=0)


def threshold(spent: int, limit: int | None, reached: int) -> int | None:
    """The highest threshold that is passed now and was not told before."""
    mark = passed(spent, limit)
    return mark if mark > reached else None


def child_limit(parent_left: int | None) -> int | None:
    """A child's default: 30 % of what its parent has left."""
    return None if parent_left is None else parent_left * 3 // 10
