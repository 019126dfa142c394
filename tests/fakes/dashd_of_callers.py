"""A real dashd whose embedded agents are a program of the tests: `… PATIENCE PROGRAM run …`.

`patient` leaves everything else as people run it. `hasty` gives providers little time: a test of stalls and
outages would otherwise wait minutes for what takes milliseconds here.
"""

import functools
import sys
from pathlib import Path
from typing import Any

from dashd import __main__ as dashd_main
from dashd import model_ports, model_side
from dashd.domain.circuit import Circuit, Circuits
from dashd.drivers import embedded
from dashd.proxy.caller import Patience
from dashd.proxy.exchange import Exchange
from dashd.proxy.registry import Provider

PATIENCE = Patience(
    first_byte_s=1.0, whole_s=1.0, idle_s=0.5, total_s=8, line_s=2, held_s=2, retry_s=1.5, drain_s=0.2
)
OPEN_S = 1.0
"""How long a circuit stays open."""


def argv(program: Path, *, hasty: bool) -> tuple[str, ...]:
    """What Python runs, before `run`."""
    return ("-m", __name__, "hasty" if hasty else "patient", str(program))


def _provider(*given: Any, **named: Any) -> Provider:
    return Provider(*given, circuits=Circuits(Circuit(open_s=OPEN_S)), **named)


def main() -> int:
    """Runs dashd."""
    embedded.PROGRAM = Path(sys.argv[2])
    if sys.argv[1] == "hasty":
        assert model_side.Exchange is Exchange, "whoever makes it must be the one that is changed"
        model_side.Exchange = functools.partial(Exchange, patience=PATIENCE)  # type: ignore[misc,assignment]
        model_ports.Provider = _provider  # type: ignore[misc,assignment]
    return dashd_main.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
