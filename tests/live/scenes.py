"""What tests of real agent programs share: a dashd, a scripted model behind its proxy, a folder."""

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

from dashd.drivers import Programs, embedded, over
from dashd.proxy import formats
from tests.fakes import dashd_of_callers
from tests.fakes.provider import MODEL, Act, Provider, Script, open_provider
from tests.whole import daemons, door

HASTY = dashd_of_callers.argv(embedded.PROGRAM, hasty=True)
RESULT = {"summary": "all done", "files_changed": ["note.txt"], "tests": [], "follow_ups": []}
DONE = Act(text=json.dumps(RESULT, separators=(",", ":")))
BUSY = Act(status=429, retry_after="0.2", error={"type": "rate_limit_error", "message": "slow down"})


def acts(*found: Act) -> Script:
    """One after the other; the last one for ever."""
    return lambda number: found[min(number, len(found) - 1)]


class Scene:
    """A dashd, its scripted model, and one folder to work in."""

    def __init__(
        self, daemon: daemons.DaemonProcess, dash: door.Door, provider: Provider, folder: Path, driver: str
    ) -> None:
        self.daemon, self.dash, self.provider, self.folder = daemon, dash, provider, folder
        self.driver = driver
        self.form: formats.FormatName = "openai-chat"
        self.doors = contextlib.AsyncExitStack()
        """Of those that a restart needs."""

    async def swarm(self, task: str = "do it", **more: Any) -> str:
        given: dict[str, Any] = {"task": task, "model": MODEL, "cwd": str(self.folder), "budget": 5}
        given |= {"driver": self.driver} | more
        made = await self.dash.call("swarm.create", **given)
        self.dash.swarms.append(made["id"])
        return made["id"]

    async def calls(self, swarm: str) -> list[dict[str, Any]]:
        return (await self.dash.call("budget.export", swarm=swarm))["rows"]

    async def ended(self, swarm: str) -> dict[str, Any]:
        """The report; the books must agree by then."""
        report = await self.dash.ended(swarm)
        assert report["outcome"] in ("complete", "none"), report
        return report

    def first_call_is_as_said(self) -> None:
        """As large as its driver says at most, beside what the agent is told, and not much smaller."""
        body = self.provider.bodies[0]
        told = [each["content"] for each in body["messages"] if each["role"] == "user"]
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        least = formats.FORMATS[self.form].parse(raw).input_bytes - len(json.dumps(told))
        said = over(Programs())[self.driver].first_bytes
        assert least <= said <= 1.5 * least, (least, said)

    async def settled(self, swarm: str) -> dict[str, Any]:
        """Its budget, once nothing is held: a call whose caller has gone is listened to for a while."""
        while (node := (await self.dash.call("budget.status", budget=swarm))["budget"])["held_usd"]:  # noqa: ASYNC110
            await trio.sleep(0.2)
        return node

    async def not_below(self, swarm: str) -> None:
        """Where a call was cut: the ledger is not below what the model billed, and nothing is held."""
        assert round((await self.settled(swarm))["spent_usd"] * 1e9) >= self.provider.bill_nusd

    async def ended_with(self, swarm: str, outcome: str) -> dict[str, Any]:
        """The same, where it is not all or nothing."""
        report = await self.dash.ended(swarm)
        assert report["outcome"] == outcome, report
        return report

    async def balanced(self, swarm: str) -> None:
        """The ledger charged what the model billed: each call to the token, all to the nano-dollar."""
        node = (await self.dash.call("budget.status", budget=swarm))["budget"]
        assert (round(node["spent_usd"] * 1e9), node["held_usd"]) == (self.provider.bill_nusd, 0)
        billed = sorted((each.input, each.output) for each in self.provider.billed)
        assert sorted(tokens(await self.calls(swarm))) == billed


@contextlib.asynccontextmanager
async def scene(
    daemon: daemons.DaemonProcess,
    folder: Path,
    script: Script | Provider,
    *,
    driver: str = "pi",
    form: formats.FormatName = "openai-chat",
    within_s: float = 60.0,
) -> AsyncIterator[Scene]:
    """`within_s` is for all of it."""
    scripted = script if isinstance(script, Provider) else Provider(script)
    with trio.fail_after(within_s):
        async with open_provider(scripted) as provider, door.open_door(daemon.socket) as dash:
            dash.wait_s = max(dash.wait_s, within_s)
            given = {"name": "p0", "format": form, "url": provider.url}
            await dash.call("provider.add", **given, models=[MODEL])
            await dash.call("model.set", model=MODEL, input_usd_per_mtok=1.0, output_usd_per_mtok=4.0)
            made = Scene(daemon, dash, provider, folder, driver)
            made.form = form
            async with made.doors:
                yield made
                await made.dash.destroy_all()


def tokens(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """(input, output) of each call; who was only told to slow down has paid for nothing."""
    return [(row["input_tokens"], row["output_tokens"]) for row in rows if row["usd"]]


def result(report: dict[str, Any]) -> dict[str, Any]:
    assert report["outcome"] == "complete", report
    return json.loads(report["results"][0]["result"])


def pids_of(whose: str, name: str = "DASH_AGENT") -> list[int]:
    """The processes of an agent, or of a launch, by the environment that each of them was started with."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{name}={whose}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def end_node(whose: str, name: str = "DASH_AGENT") -> None:
    """SIGKILL for the program alone: neither for what it runs nor for what is around it."""
    found = []
    for pid in pids_of(whose, name):
        with contextlib.suppress(OSError):  # what its tool runs comes and goes
            if os.readlink(f"/proc/{pid}/exe").endswith("/node"):
                found.append(pid)
    assert found
    for pid in found:
        with contextlib.suppress(ProcessLookupError):  # a process that it had begun for a moment
            os.kill(pid, signal.SIGKILL)
