"""OpenClaw's gateway protocol, version 4, as far as Dash speaks it: frames in, frames out, no I/O.

    <- event connect.challenge
    -> req   connect {minProtocol: 4, maxProtocol: 4, client, role, scopes, caps, auth}
    <- res   {protocol: 4, server: {version, bootId}, …}
    -> req   agent {message, agentId, sessionKey, idempotencyKey}     the key that we chose is the run's id
    <- res   {runId, status: accepted | in_flight}                    at once; asked again, nothing runs twice
    -> req   agent.wait {runId, timeoutMs}
    <- res   {status: ok | error | timeout, endedAt?, terminalReply?} a timeout without an end is ours alone
    <- event agent {runId, stream, data}                              hints: some may be missing

Fields that are not named here are passed over.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from dashd.domain import surrogates

PROTOCOL = 4
FRAME_BYTES_MAX = 32 << 20
"""Of what a gateway sends; its own bound is 25 MiB."""
EVENT_BYTES_MAX = 1 << 20
"""Of an event that is read whole. To take one of 23 MiB apart held up everything for up to a second."""
NAME_CHARACTERS_MAX = 100
"""Of its version, and of the name of its start."""
SCOPES = ("operator.read", "operator.write", "operator.admin")
UNBEGUN = "changed while starting work"
"""How a run ends whose session somebody else has begun to work in (SESSION_WORK_START_CHANGED)."""
SICK = "database cleanup failed"
"""How every run of an agent ends whose database the gateway has closed and not opened again."""
LOG_BYTES_MAX = 16_384
"""Of a line of its log, from where it says something."""
_RUN_ENDS = b"embedded run agent end: runId="
_RAW = re.compile(_RUN_ENDS + rb"(\S{1,200}) .*rawError=(.{1,500})")
"""How the last call of a run failed, which no frame says."""


class Fault(msgspec.Struct, frozen=True, rename="camel"):
    """Why a request was refused."""

    code: str = ""
    message: str = ""
    retryable: bool = False
    retry_after_ms: float | None = None


class Answer(msgspec.Struct, frozen=True, tag="res"):
    """To a request of ours."""

    id: str
    ok: bool
    payload: msgspec.Raw = msgspec.Raw(b"null")
    error: Fault | None = None


class Event(msgspec.Struct, frozen=True, tag="event"):
    """Something that happens."""

    event: str
    payload: msgspec.Raw = msgspec.Raw(b"null")


class Server(msgspec.Struct, frozen=True, rename="camel"):
    """Who answers; `boot_id` is another one after each start."""

    version: str = ""
    boot_id: str = ""


class Hello(msgspec.Struct, frozen=True):
    """The answer to `connect`."""

    protocol: int
    server: Server

    def cut(self) -> "Hello":
        """The same with as much of its words as is kept."""
        server = Server(self.server.version[:NAME_CHARACTERS_MAX], self.server.boot_id[:NAME_CHARACTERS_MAX])
        return Hello(self.protocol, server)


class Accepted(msgspec.Struct, frozen=True):
    """The answer to `agent`."""

    status: str


class RunOf(msgspec.Struct, frozen=True, rename="camel"):
    """The same, as far as it says whose it is: the rest is passed over unread."""

    run_id: str


class RunEvent(msgspec.Struct, frozen=True, rename="camel"):
    """Payload of event `agent`."""

    run_id: str
    stream: str
    data: dict[str, Any] = {}


class Session(msgspec.Struct, frozen=True, rename="camel"):
    """A session, as `sessions.describe` has it."""

    status: str | None = None
    last_run_id: str | None = None

    @property
    def works(self) -> bool:
        """Something runs in it; after a start also: what was cut off by the end of the one before is taken up
        again in a moment.
        """
        return self.status == "running"


class Described(msgspec.Struct, frozen=True):
    """The answer to `sessions.describe`."""

    session: Session | None = None


class Reply(msgspec.Struct, frozen=True):
    """What a run said last."""

    text: str = ""


class Waited(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to `agent.wait`."""

    status: Literal["ok", "error", "timeout"]
    ended_at: float | None = None
    error: str = ""
    stop_reason: str = ""
    terminal_reply: Reply | None = None

    @property
    def over(self) -> bool:
        """The run has ended; otherwise it is the wait that has."""
        return self.status != "timeout" or self.ended_at is not None

    @property
    def unbegun(self) -> bool:
        """Its session changed just then, so that nothing was put before the model: it may be asked again."""
        return self.status == "error" and UNBEGUN in self.error

    @property
    def sick(self) -> bool:
        """Nothing of that agent's works in this gateway any more, until it starts anew."""
        return self.status == "error" and SICK in self.error

    @property
    def text(self) -> str:
        """What it said last."""
        return self.terminal_reply.text if self.terminal_reply else ""

    @property
    def fault(self) -> str:
        """Why it did not end well; empty where it did."""
        if self.status == "ok":
            return ""
        if self.status == "timeout":
            return self.error or "it ran out of time"
        return self.error or (f"it was aborted ({self.stop_reason})" if self.stop_reason else "it failed")


class ListedAgent(msgspec.Struct, frozen=True):
    """An agent, by name."""

    id: str


class AgentList(msgspec.Struct, frozen=True):
    """The answer to `agents.list`."""

    agents: list[ListedAgent]


class Log(msgspec.Struct, frozen=True):
    """The answer to `logs.tail`."""

    lines: list[str]


class Config(msgspec.Struct, frozen=True):
    """The answer to `config.get`; its hash is needed to change it."""

    hash: str
    config: dict[str, Any] = {}
    parsed: dict[str, Any] | None = None
    """As it is in its file."""


def decode(frame: bytes | str) -> Answer | Event | None:
    """What a gateway has sent; None for what this version of Dash does not know."""
    try:
        found: Answer | Event = surrogates.decode(frame, Answer | Event)
    except surrogates.UNREADABLE:
        return None
    return found


def raw_error(line: bytes) -> tuple[str, str] | None:
    """(a run, how its last call failed) by a line of the log. Only near where it says so: a pattern that may
    begin anywhere takes minutes for a line that begins it everywhere.
    """
    at = line.find(_RUN_ENDS)
    found = _RAW.match(line[at : at + LOG_BYTES_MAX]) if at >= 0 else None
    return (found[1].decode("utf-8", "replace"), found[2].decode("utf-8", "replace")) if found else None


def request(number: str, method: str, params: Mapping[str, Any]) -> str:
    """One request, as it travels."""
    return msgspec.json.encode({"type": "req", "id": number, "method": method, "params": params}).decode()


def connect(token: str, version: str) -> dict[str, Any]:
    """Parameters of `connect` for a program on the same host, which needs no key pair and no pairing."""
    return {
        "minProtocol": PROTOCOL,
        "maxProtocol": PROTOCOL,
        "client": {
            "id": "gateway-client",
            "displayName": "dashd",
            "version": version,
            "platform": "linux",
            "mode": "backend",
        },
        "role": "operator",
        "scopes": list(SCOPES),
        "caps": ["tool-events"],  # without it tools are not heard of
        "auth": {"token": token},
    }
