"""Driver `openclaw`: each agent in a jail with a state directory of its own, models behind the proxy.

A turn is one `openclaw agent --local` process; all turns of an attempt are one session. `openclaw_turns.py`
runs them inside the jail, `openclaw_conversation.py` is what is said. Its configuration has one provider, the
agent's own listener, and no fallback: retries and deadlines are the proxy's. A refused budget is final.

Its state directory is the folder of its session, where an attempt after a kill goes on. What is in it are
SQLite databases, which belong to one process at a time, the turn under way; `openclaw_transcript.py` has them
read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from dashd.domain.speech import FormatName
from dashd.jail import view

from . import compiled, openclaw_config
from .command import check_folder, environment
from .driver import Command, Footprint, History, ModelAccess, Printed, Session, SessionFormat, Work
from .openclaw_conversation import OpenClawConversation
from .openclaw_transcript import AGENT, SESSION, STORE, OpenClawSessions
from .programs import CLOSED, Programs, check_program, folders, there

RUNNER = Path(__file__).with_name("openclaw_turns.py")
GATE = Path(__file__).with_name("openclaw_gate.mjs")
GATE_ID = "dash-gate"
"""Its name as a plugin."""
PROVIDER = "dash"
RESERVED_BYTES = 8 << 30
"""V8 reserves half a GiB for the code of each of its workers, of which OpenClaw has eight and uses little."""
FOOTPRINT = Footprint(per_core_max=8, each_bytes=1 << 30)
"""Each takes ten seconds of a core to begin, then waits for its model most of the time, with a gibibyte of
memory.
"""
ENVIRON = {
    **openclaw_config.ENVIRON,
    "OPENCLAW_LOG_LEVEL": "debug",  # that a run begins, and its tools, are nowhere else
}


class OpenClawDriver:
    """Runs OpenClaw."""

    name = "openclaw"
    pause: Literal["hard", "soft"] = "soft"
    takes_messages = True
    can_ask = True
    breaks_off = False
    compacts = False
    needs_model = True
    formats: tuple[FormatName, ...] = tuple(openclaw_config.APIS)
    keeps_session = True
    refusals: Literal["embedded", "pi", "openclaw"] = "openclaw"
    first_bytes = 16_000  # some 13,840 with short folders, by what its first call had to hold
    printed: Printed | None = None

    def __init__(self, programs: Programs) -> None:
        """`programs` says where it is."""
        self.programs = programs
        self.sessions: SessionFormat | None = OpenClawSessions(programs)

    def check(self, argv: Sequence[str] | None, cwd: str | None) -> tuple[list[str], str]:
        """Its program must be here; the folder must exist."""
        check_program(self.programs, self.name, argv)
        return [], check_folder(cwd)

    def remarks(self, argv: Sequence[str]) -> list[str]:
        """None: it takes no argv."""
        return []

    def command(self, work: Work, environ: Mapping[str, str]) -> Command:
        """The runner, and what it is to execute by absolute path; the key is in the environment alone."""
        assert work.model is not None, "openclaw was started without a model"
        program = program_argv(self.programs, *(CLOSED if work.asks else ()))
        flags = ["agent", "--local", "--json", "--agent", AGENT, "--session-key", SESSION]
        model = ["--model", f"{PROVIDER}/{work.model.name}"]
        cache = self.programs.cache(self.name) if work.isolated else None
        told = {
            "argv": [*program, *flags, *model],
            "env": ENVIRON | (compiled.environ(cache) if cache else {}),
            "config": _config(work, work.model),
            "gate": _gate(work),
            "state": work.session.folder if work.session else None,
            "seed": _seed(program, work.session),
        }
        own = {
            "DASH_MODEL_KEY": work.model.key,
            "DASH_OPENCLAW": json.dumps(told),
            "TERM": "dumb",
        }
        if work.asks:
            asked_at = f"{work.model.url.removesuffix('/v1')}/dash/v1/ask"
            own |= {"DASH_ASK": ",".join(work.asks), "DASH_ASK_URL": asked_at}
        runner = f"{view.CODE}/dashd/drivers/{RUNNER.name}" if work.isolated else str(RUNNER)
        argv = (view.python(), "-I", "-S", runner)
        return Command(
            argv=argv,
            env=environment(work, environ) | own,
            cwd=work.cwd,
            stdin=True,
            programs=folders(self.programs.find("node"), self.programs.find(self.name), cache=cache),
            reserved_bytes=RESERVED_BYTES,
        )

    def conversation(self, work: Work, history: History) -> OpenClawConversation:
        """Its brief, and what follows from what it answers."""
        return OpenClawConversation(work.brief, history, work.session)

    def told(self, work: Work) -> str:
        """Its brief."""
        return work.brief


def program_argv(programs: Programs, *node_flags: str) -> list[str]:
    """How OpenClaw is executed: by Node, where it is a script. Raises ProgramGone."""
    path = there(programs.look("openclaw")).path
    if not path.endswith(compiled.SCRIPTS):
        return [path]
    return [there(programs.look("node")).path, *node_flags, path]


def _seed(program: list[str], session: Session | None) -> dict[str, Any] | None:
    """How it takes over what its session begins with; None where that is its brief alone."""
    if session is None or not session.forked:
        return None
    session_id = OpenClawSessions.session_id
    return {
        "store": f"{STORE}/sessions.json",
        "sessions": {SESSION: {"sessionId": session_id, "sessionFile": f"{session_id}.jsonl"}},
        "file": f"{STORE}/{session_id}.jsonl",
        "argv": [*program, "doctor", "--session-sqlite", "import", "--session-sqlite-agent", AGENT, "--json"],
    }


def _gate(work: Work) -> dict[str, str]:
    """The files of the plugin that asks, where there are gates; the runner puts them in place."""
    if not work.asks:
        return {}
    about: dict[str, Any] = {"name": GATE_ID, "version": "1.0.0"}
    manifest = about | {"id": GATE_ID, "description": "Asks Dash before a tool works."}
    manifest |= {"configSchema": {"type": "object", "properties": {}}, "activation": {"onStartup": True}}
    package = about | {"type": "module", "openclaw": {"extensions": [f"./{GATE.name}"]}}
    return {
        GATE.name: GATE.read_text("utf-8"),
        "openclaw.plugin.json": json.dumps(manifest),
        "package.json": json.dumps(package),
    }


def _plugins(work: Work) -> dict[str, Any]:
    """None, but where there are gates the one that asks."""
    if not work.asks:
        return {"enabled": False}
    return {
        "allow": [GATE_ID],
        "load": {"paths": ["${DASH_OPENCLAW_GATE}"]},
        "entries": {GATE_ID: {"enabled": True}},
    }


def _config(work: Work, model: ModelAccess) -> dict[str, Any]:
    """One provider, one agent; its key is in the environment alone."""
    return openclaw_config.whole(
        {PROVIDER: openclaw_config.provider(msgspec.structs.replace(model, key="${DASH_MODEL_KEY}"))},
        {AGENT: openclaw_config.agent(PROVIDER, model.name, work.cwd)},
        gateway={},
        plugins=_plugins(work),
        workspace_only=not work.isolated,  # several folders may be its own; the kernel keeps it there
    )
