"""What a core has in the place of a part that its test does without: each answers its port truthfully.

test_absent.py holds them to their ports. No dashd is without any of these parts.
"""

from collections.abc import Sequence
from typing import Any

import trio

from dashd.domain.budget import USEFUL_OUTPUT_TOKENS
from dashd.domain.session_tree import Transcript
from dashd.domain.speech import Speaks
from dashd.service.place_ports import PlaceSeen
from dashd.service.ports import (
    AliasSeen,
    DiffSeen,
    ModelSeen,
    Offer,
    ProviderState,
    RepositorySeen,
    Speaker,
    Tested,
    WallsState,
)
from dashd.store.registry import Look
from dashd.wire import errors
from dashd.wire.methods.program import Program, ProgramChecked, ProgramInstalled


class NoPrograms:
    """A daemon that installs none."""

    async def listed(self) -> list[Program]:
        """There are none."""
        return []

    async def install(self, name: str) -> ProgramInstalled:
        """Refused."""
        raise errors.Unsupported(f"this daemon cannot install {name}")

    async def check(self, name: str) -> ProgramChecked:
        """Refused."""
        raise errors.Unsupported(f"this daemon has no program {name}")


class NoWalls:
    """A daemon that builds none."""

    async def state(self) -> WallsState:
        """Agents run as they are."""
        return WallsState("0")

    async def check(self, _write: Sequence[str], _read: Sequence[str]) -> None:
        """Nothing is kept out anyway."""

    def enforcers(self, _grade: str, _bounds: str, _shown: str | None) -> dict[str, tuple[str, str]]:
        """Nothing."""
        return {}


class NoRepositories:
    """A daemon that works on none."""

    async def look(
        self, _repo: str, _base: str, *, granted: Sequence[str] = (), folders: Sequence[str] = ()
    ) -> RepositorySeen:
        """Nothing can be looked at."""
        raise errors.Unsupported("this daemon works on no repositories", path="repo")

    async def tip(self, _repo: str, _branch: str, *, granted: Sequence[str] = ()) -> str | None:
        """There is none."""
        return None

    async def diff(self, _owner: str, _patch_bytes_max: int, _files_max: int) -> DiffSeen | None:
        """There is none."""
        return None

    async def diff_kept(
        self,
        _repo: str,
        _base: str,
        _commit: str,
        _patch_bytes_max: int,
        _files_max: int,
        *,
        salvage: bool,
        granted: Sequence[str] = (),
    ) -> DiffSeen:
        """There is none."""
        raise errors.Unsupported("this daemon works on no repositories", path="repo")


class NoKeys:
    """A daemon that knows no keys."""

    async def identify(self, _key: str) -> Speaker | None:
        """None is known."""
        return None

    def stands(self, _proof: str) -> bool:
        """None was identified."""
        return False

    async def follow(self) -> None:
        """None becomes known."""


class NoProviders:
    """A daemon without a proxy."""

    def __init__(self) -> None:
        self.changing = trio.Lock()

    async def obtain(self, _secret: str | None, _command: Sequence[str] | None) -> str | None:
        """Nobody could use it."""
        raise errors.Unsupported("this daemon has no model proxy")

    async def keep(self, _name: str, _secret: str) -> None:
        """Not reached: nothing is obtained."""
        raise errors.Unsupported("this daemon has no model proxy")

    async def follow(self, fresh: str | None = None, secret: str | None = None) -> None:
        """There is no registry."""

    async def states(self) -> dict[str, ProviderState]:
        """There are none."""
        return {}

    async def test(self, _name: str) -> Tested:
        """There is none."""
        return Tested(False, "this daemon has no model proxy")


class NoGateways:
    """A daemon that talks to none."""

    def __init__(self) -> None:
        self.changing = trio.Lock()

    async def obtain(self, _token: str | None, _command: Sequence[str] | None) -> str:
        """Nobody could use it."""
        raise errors.Unsupported("this daemon talks to no gateways")

    async def keep(self, _name: str, _token: str) -> None:
        """Not reached: nothing is obtained."""
        raise errors.Unsupported("this daemon talks to no gateways")

    async def forget(self, _name: str) -> None:
        """There is no file."""

    async def follow(self) -> None:
        """None is known."""

    def seen(self) -> dict[str, PlaceSeen]:
        """None is looked at."""
        return {}

    def looks(self) -> dict[str, Look]:
        """None is looked at."""
        return {}

    def why(self, _swarm: str, /) -> str:
        """Nobody waits for one."""
        return ""

    async def ask(self, _name: str) -> PlaceSeen:
        """None is asked."""
        return PlaceSeen("unknown", "this daemon talks to no gateways")


class NoInstances:
    """A daemon that starts no Pi."""

    def __init__(self) -> None:
        self.changing = trio.Lock()

    async def place(self, _program: str) -> str:
        """Nobody could use it."""
        raise errors.Unsupported("this daemon starts no Pi")

    async def here(self) -> str | None:
        """None is here."""
        return None

    async def follow(self) -> None:
        """None is known."""

    def seen(self) -> dict[str, PlaceSeen]:
        """None is looked at."""
        return {}

    def looks(self) -> dict[str, Look]:
        """None is looked at."""
        return {}

    async def look(self, _name: str) -> PlaceSeen:
        """None is looked at."""
        return PlaceSeen("unknown", "this daemon starts no Pi")

    async def look_here(self) -> str:
        """None is here."""
        return "this daemon starts no Pi"


class NoOutside:
    """A daemon without a proxy."""

    url = ""
    problem = "this daemon has no model proxy"

    async def follow(self) -> None:
        """There is no door."""

    def last_used_ms(self, _key_id: str) -> int | None:
        """There is no door."""
        return None


class NoModels:
    """A daemon without a proxy."""

    async def seen(self, _model: str | None) -> list[ModelSeen]:
        """There are none."""
        return []

    async def aliases(self) -> list[AliasSeen]:
        """There are none."""
        return []

    async def rivals(self, _model: str) -> list[str]:
        """Nobody serves any."""
        return []

    async def swap(self, _agent_id: str) -> None:
        """Nobody calls."""

    def waiting(self, _agent_id: str) -> None:
        """Nobody calls."""

    async def prices_date(self) -> str:
        """There is no list."""
        return ""

    async def spoken(self, _agent_id: str) -> None:
        """Nobody calls."""

    async def choose(self, model: str | None, speaks: Speaks | None = None) -> Offer | None:
        """None, whatever is asked for."""
        return None

    async def offers(self) -> list[Offer]:
        """There are none."""
        return []


class NoSessions:
    """A daemon whose drivers keep none."""

    async def live(self, driver: str, _launch_id: str) -> Transcript:
        """Refused."""
        raise errors.Unsupported(f"driver {driver} keeps no session that can be read")

    async def kept(self, driver: str, _checkpoint_id: str) -> Transcript:
        """Refused."""
        raise errors.Unsupported(f"driver {driver} keeps no session that can be read")

    async def keep(self, _checkpoint_id: str, _data: bytes) -> None:
        """Refused."""
        raise errors.Unsupported("this daemon keeps no sessions")

    def forget(self, _checkpoint_ids: Sequence[str]) -> None:
        """There are none."""


PORTS = {
    "models": NoModels,
    "providers": NoProviders,
    "gateways": NoGateways,
    "instances": NoInstances,
    "programs": NoPrograms,
    "walls": NoWalls,
    "outside": NoOutside,
    "repositories": NoRepositories,
    "sessions": NoSessions,
    "keys": NoKeys,
}
"""By what `Core` calls them."""
FIGURES: dict[str, Any] = {
    "bodies": "off",
    "cleanup_after_s": 86_400.0,
    "checkpoints_bytes_max": 1_024 << 20,
    "useful_tokens": USEFUL_OUTPUT_TOKENS,
}
"""As the settings have them where nobody sets them."""


def parts() -> dict[str, Any]:
    """The rest of a `Core` that is without any of these parts; they are new, as a test may change them."""
    return {name: port() for name, port in PORTS.items()} | FIGURES
