"""OpenClaw's conversations: rows of a database in its state directory, each of them a line of Pi's format.

The database is written inside a jail, so dashd never opens it: `openclaw_transcript.mjs`, run by the Node
that runs OpenClaw, prints the one session in a jail that sees this folder alone, read-only, within bounds and
a deadline. A copy is those lines, and is read and cut like a session of Pi's. What begins with one finds it
as a session file of an OpenClaw before SQLite, which its own `doctor` takes over (`openclaw_turns.py`).
"""

from pathlib import Path

import trio

from dashd.domain.session_tree import BYTES_MAX, NotASession, NothingThere, NotReadInTime
from dashd.jail import tool, view

from . import session_file
from .pi_transcript import LINE_BYTES_MAX, PiTranscript
from .programs import Programs

SCRIPT = Path(__file__).with_name("openclaw_transcript.mjs")
AGENT = "dash"
SESSION = f"agent:{AGENT}:main"
DATABASE = f"agents/{AGENT}/agent/openclaw-agent.sqlite"
STORE = f"agents/{AGENT}/sessions"
"""Where an OpenClaw before SQLite kept its sessions, below the state directory."""
FLAGS = ("--no-warnings", "--max-old-space-size=512", "--input-type=module", "-")
READ_S_MAX = 10.0
"""A tenth of a second for most; as long as a machine may be busy."""
READERS_MAX = 2
"""At once; the others wait for them."""
QUEUE_S_MAX = 60.0
"""For one of them: longer than ten take that all need their whole time."""
NOTHING = 3
WORDS_CHARACTERS_MAX = 300


class OpenClawTranscript(PiTranscript):
    """A session that was printed."""

    VERSION = 4


class OpenClawSessions:
    """See SessionFormat."""

    session_id = "da5400c1-0000-4000-8000-000000000000"
    """Of one that begins with a copy; the state directory holds no other."""

    def __init__(self, programs: Programs) -> None:
        """`programs` says where Node is."""
        self._programs = programs
        self._readers = trio.CapacityLimiter(READERS_MAX)

    def file_name(self, at_ms: int) -> str:
        """One, whenever it is made."""
        return f"{STORE}/{self.session_id}.jsonl"

    async def live(self, folder: Path) -> bytes:
        """See SessionFormat."""
        session_file.check_folder(folder)
        if (node := self._programs.find("node")) is None:
            raise OSError("it is read by Node, which is not here: dashctl program install node")
        bounds = (str(LINE_BYTES_MAX), str(BYTES_MAX))
        job = tool.Tool(
            argv=(node.path, *FLAGS, str(folder / DATABASE), SESSION, *bounds),
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
            read=(folder, *([] if view.is_system(node.folder) else [Path(node.folder)])),
            write=(),
            stdin=SCRIPT.read_bytes(),
            deadline_s=READ_S_MAX,
            output_bytes_max=BYTES_MAX,
        )
        try:
            with trio.fail_after(QUEUE_S_MAX):
                await self._readers.acquire()
        except trio.TooSlowError:
            raise NotReadInTime(f"too many others were being read for {QUEUE_S_MAX:g} s") from None
        try:
            done = await tool.run(job)
        except tool.ToolTimeout as error:
            raise NotReadInTime(str(error)) from None
        except tool.ToolFailed as error:
            raise NotASession(str(error)) from None
        finally:
            self._readers.release()
        if done.code == NOTHING:
            raise NothingThere
        if done.cut:
            raise NotASession(f"it has more than {BYTES_MAX:,} bytes")
        if done.code:
            said = done.stderr.decode("utf-8", "replace").strip()[-WORDS_CHARACTERS_MAX:]
            raise NotASession(said or f"what reads it ended with exit code {done.code}")
        return done.stdout

    def read(self, data: bytes) -> OpenClawTranscript:
        """See SessionFormat."""
        return OpenClawTranscript(data)
