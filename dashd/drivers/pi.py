"""Driver `pi`: the Pi coding agent in its RPC mode, one jailed process an attempt, models behind the proxy.

What is said to it is `pi_conversation.py`; this makes the command: an agent directory of its own (written by
`pi_preload.cjs`, in the jail), an explicit environment, no extension, no telemetry, no update, and retries
left to the proxy. A refused budget is final. Where there are gates about commands, paths or tools, it asks
before each tool call (`pi_gate.js`).

Its session lies in a folder of its launch's; the attempt after a kill opens it again. One process a seat, for
several attempts, would save half a second of a core for each, and want launch, key and walls to outlive them.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dashd.domain.speech import FormatName
from dashd.jail import view

from . import compiled
from .command import check_folder, environment
from .driver import Command, Footprint, History, ModelAccess, Printed, Session, SessionFormat, Work
from .pi_conversation import PiConversation
from .pi_transcript import PiSessions
from .programs import CLOSED, Found, Lack, Programs, check_program, folders, named, there

PRELOAD = Path(__file__).with_name("pi_preload.cjs")
GATE = Path(__file__).with_name("pi_gate.js")
AGENT_FOLDER = f"{view.HOME}/pi"
"""Inside a jail; elsewhere the program makes one below TMPDIR and removes it."""
OUTPUT_TOKENS = 16_384
APIS: dict[FormatName, str] = {"openai-chat": "openai-completions", "anthropic": "anthropic-messages"}
"""What Pi calls the formats that it speaks; the first is preferred."""
FLAGS = ("--mode", "rpc", "--offline", "-ne", "-ns", "-np", "--no-themes", "-na")
"""No extensions, skills, prompt templates or themes of the machine's, and a project's own are not trusted."""
ADDENDUM = (
    "You are one agent of a swarm, and nobody watches: do not ask questions, and do not wait for anybody. "
    "Work only inside the current folder, and keep to your task."
)
SETTINGS = {
    "retry": {"enabled": False},  # the proxy owns retries and deadlines
    "httpIdleTimeoutMs": "disabled",
    "cacheWarming": "off",  # it would make calls that nobody asked for
    "compaction": {"enabled": True},
    "enableInstallTelemetry": False,
}

FOOTPRINT = Footprint(per_core_max=50, each_bytes=192 << 20)
"""Each takes half a second of a core to begin, then waits for its model most of the time, with 110 MiB of
memory and what its tools take.
"""


class PiDriver:
    """Runs Pi."""

    name = "pi"
    pause: Literal["hard", "soft"] = "soft"
    takes_messages = True
    can_ask = True
    breaks_off = True
    compacts = True
    needs_model = True
    formats: tuple[FormatName, ...] = tuple(APIS)
    keeps_session = True
    sessions: SessionFormat | None = PiSessions()
    refusals: Literal["embedded", "pi", "openclaw"] = "pi"
    first_bytes = 7_500  # 6,150 measured with short folders
    printed: Printed | None = None

    def __init__(self, programs: Programs) -> None:
        """`programs` says where it is."""
        self._programs = programs

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """Its program must be here; the folder must exist."""
        check_program(self._programs, self.name, argv)
        return [], check_folder(cwd)

    def remarks(self, argv: Sequence[str]) -> list[str]:
        """None: it takes no argv."""
        return []

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        """Node and Pi by absolute path, nothing of the daemon's environment but what any program needs."""
        assert work.model is not None, "pi was started without a model"
        node, pi = there(self._programs.look("node")), there(self._pi(work))
        own = {
            "DASH_MODEL_KEY": work.model.key,
            "DASH_PI_FILES": json.dumps(_files(work.model)),
            "PI_OFFLINE": "1",
            "PI_TELEMETRY": "0",
            "PI_SKIP_VERSION_CHECK": "1",
            "TERM": "dumb",
        }
        cache = self._programs.compiled.find(node, pi) if work.isolated else None
        if cache is not None:
            own |= compiled.environ(cache)
        if work.isolated:
            own["PI_CODING_AGENT_DIR"] = AGENT_FOLDER
        ours = f"{view.CODE}/dashd/drivers" if work.isolated else str(PRELOAD.parent)
        gate = ("-e", f"{ours}/{GATE.name}") if work.asks else ()
        closed = CLOSED if work.asks else ()
        argv = (node.path, *closed, "--require", f"{ours}/{PRELOAD.name}", pi.path)
        own_flags = (*FLAGS, *_session(work.session), *gate, "--append-system-prompt", ADDENDUM)
        return Command(
            argv=(*argv, *own_flags),
            env=environment(work, environ) | own,
            cwd=work.cwd,
            stdin=True,
            programs=folders(node, pi, cache=cache),
        )

    def _pi(self, work: Work) -> Found | Lack:
        if work.program:
            return named(self.name, work.program, "configured", work.program)
        return self._programs.look(self.name)

    def conversation(self, work: Work, history: History) -> PiConversation:
        """Its brief, and what follows from what it answers."""
        return PiConversation(work.brief, history, work.session)

    def told(self, work: Work) -> str:
        """Its brief."""
        return work.brief


def _session(session: Session | None) -> tuple[str, ...]:
    if session is None:
        return ("--no-session",)
    return ("--session-dir", session.folder, "--session-id", PiSessions.session_id)


def _files(model: ModelAccess) -> dict[str, Any]:
    """Of its agent directory: the one provider there is, and the settings."""
    free = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}  # the proxy alone counts
    offered = {
        "id": model.name,
        "contextWindow": model.context,
        "maxTokens": model.output(OUTPUT_TOKENS),
        "cost": free,
    }
    # Each of its clients has a base address of its own: that of Anthropic's puts /v1/messages behind it.
    address = model.url.removesuffix("/v1") if model.format == "anthropic" else model.url
    provider = {
        "baseUrl": address,
        "api": APIS[model.format],
        "apiKey": "$DASH_MODEL_KEY",
        "models": [offered],
    }
    return {
        "models.json": {"providers": {"dash": provider}},
        "settings.json": {"defaultProvider": "dash", "defaultModel": model.name, **SETTINGS},
    }
