"""Models with prices, and a driver that needs one, for tests of what money does to a swarm."""

from collections.abc import Sequence

import trio

from dashd.domain.prices import Price
from dashd.domain.speech import FormatName, Speaks
from dashd.service.ports import CallWait, DriverAbilities, Offer
from dashd.wire import errors
from tests.fakes.ports import driver_abilities


def price(per_token: int) -> Price:
    """Output at four times the input, in nano-dollars."""
    return Price(per_token, 4 * per_token, per_token, per_token, 0, "2026-11-01", "config")


BIG = Offer("big", "fake", price(1_000), 4_096)
SMALL = Offer("small", "fake", price(250), 4_096)


class FakeModels:
    """Two models; the big one is the default."""

    async def choose(self, model: str | None, _speaks: Speaks | None = None) -> Offer | None:
        await trio.lowlevel.checkpoint()
        for offer in (BIG, SMALL):
            if model in (None, offer.name):
                return offer
        raise errors.InvalidParams(f"there is no model {model!r}", hint="models: big, small", path="model")

    async def offers(self) -> list[Offer]:
        await trio.lowlevel.checkpoint()
        return [BIG, SMALL]

    held: CallWait | None = None
    """What every agent's call waits for."""

    def waiting(self, _agent_id: str) -> CallWait | None:
        return self.held

    told: FormatName | None = None
    """In which every agent's program calls."""

    async def spoken(self, _agent_id: str) -> FormatName | None:
        return self.told

    async def rivals(self, _model: str) -> list[str]:
        return []

    async def prices_date(self) -> str:
        return "2026-11-01"


class ModelDrivers:
    """`command`, and `thinker`, which needs a model and has no command."""

    async def choose(self, name: str | None, *, has_argv: bool) -> tuple[str, str]:
        return name or "thinker", "it was asked for" if name else "it is the only one that thinks"

    def abilities(self, name: str) -> DriverAbilities:
        thinks = name == "thinker"
        return driver_abilities("soft", message=False, needs_model=thinks, first_bytes=6_000 if thinks else 0)

    def remarks(self, _name: str, _argv: Sequence[str]) -> list[str]:
        return []

    def told(self, name: str, task: str, item: str, folder: str, write: Sequence[str] | None) -> str:
        return f"do {task} for {item} in {folder}, write {write}" if name == "thinker" else ""

    async def check(
        self, name: str, argv: Sequence[str] | None, cwd: str | None, *, away: bool = False
    ) -> tuple[list[str], str]:
        await trio.lowlevel.checkpoint()
        return list(argv or []), cwd or "/"
