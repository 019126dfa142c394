"""One swarm over three real gateways that somebody else started: one is killed in its tools, one drained.

Nothing is lost, no effect is doubled, and the ledger is the scripted model's own count.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import trio

from dashd.drivers import openclaw_config
from dashd.drivers.programs import Programs
from tests.fakes.provider import Act
from tests.live.scenes import DONE, Scene, scene
from tests.live.stepping import Stepping, item_of
from tests.whole.door import Door

pytestmark = [pytest.mark.live, pytest.mark.timeout(0)]

WITHIN_S = 900.0
"""A gateway is fifteen seconds of one core until it is ready, an agent's first turn three."""
TOKEN = "a-token-of-thirty-two-characters"
HELD = 2
"""The step whose tool waits until it may go on."""
YIELD_MS = 120_000
"""For so long a tool works before it goes on in the background."""


class Looking(Stepping):
    """In a conversation without a past it looks what was done before."""

    def _act(self, number: int) -> Act:
        messages = self.bodies[-1]["messages"]
        if not any(each["role"] == "tool" for each in messages):
            item = item_of(self.bodies[-1])
            return self._runs(
                f"for each in $(cat {item}.marks 2>/dev/null); do echo did $each; done; echo did 0"
            )
        return super()._act(number)

    def _runs(self, command: str) -> Act:
        if command.startswith(f"echo {HELD} >> "):
            command = command.replace(self._wait, "until [ -e go ]; do sleep 0.2; done")
        return super()._runs(command)


class Standing:
    """A real gateway, a process of its own with a state that it keeps."""

    def __init__(self, folder: Path, name: str, programs: Programs) -> None:
        self.name, self.folder = name, folder / name
        self.folder.mkdir(parents=True)
        self.config = self.folder / "openclaw.json"
        with socket.create_server(("127.0.0.1", 0)) as door:
            self.port: int = door.getsockname()[1]
        told = openclaw_config.whole(
            {},
            {"keeper": {"workspace": str(self.folder)}},
            gateway={
                "bind": "loopback",
                "port": self.port,
                "auth": {"mode": "token", "token": TOKEN},
                "controlUi": {"enabled": False},
            },
            plugins={"enabled": False},
            workspace_only=False,
        )
        self.config.write_text(json.dumps(told))
        node, openclaw = programs.find("node"), programs.find("openclaw")
        assert node is not None
        assert openclaw is not None
        self._argv = [
            node.path,
            openclaw.path,
            "gateway",
            "run",
            "--port",
            str(self.port),
            "--bind",
            "loopback",
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OPENCLAW_STATE_DIR": str(self.folder),
            "OPENCLAW_CONFIG_PATH": str(self.config),
            "OPENCLAW_BASH_YIELD_MS": str(YIELD_MS),
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._argv,
                env=environ | openclaw_config.ENVIRON,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL for the gateway itself, not for what it runs."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """With all that it has left."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def told(self) -> dict[str, set[str]]:
        """The agents and providers of its configuration, as it is on its disk."""
        told = json.loads(self.config.read_text())
        providers = told.get("models", {}).get("providers") or {}
        return {"agents": set(told["agents"]["entries"]), "providers": set(providers)}


@pytest.fixture
def agent_environ(openclaw_environ):
    return openclaw_environ


@pytest.fixture
def fleet(tmp_path, programs, openclaw_environ):
    made = [Standing(tmp_path / "gateways", name, programs) for name in ("east", "south", "west")]
    yield {each.name: each for each in made}
    for each in made:
        each.end()


async def _ready(dash: Door, name: str) -> None:
    while not (await dash.call("gateway.health", name=name))["ok"]:  # noqa: ASYNC110  # no bell
        await trio.sleep(1)


async def _start(dash: Door, fleet: dict[str, Standing]) -> None:
    """One after the other: each is fifteen seconds of one core."""
    for name, each in fleet.items():
        each.start()
        url = f"ws://127.0.0.1:{each.port}"
        await dash.call("gateway.add", name=name, url=url, token=TOKEN, unsafe_no_jail=True, capacity=2)
        await _ready(dash, name)


async def _places(there: Scene, swarm: str, items: list[str]) -> dict[str, str]:
    """Item to gateway."""
    found = {}
    for task in (await there.dash.call("task.list", swarm=swarm))["items"]:
        found[task["item"]] = (await there.dash.call("agent.get", agent=task["agent"]))["gateway"]
    return {each: found[each] for each in items}


async def _cleaned(fleet: dict[str, Standing]) -> None:
    while any(each.told() != {"agents": {"keeper"}, "providers": set()} for each in fleet.values()):  # noqa: ASYNC110
        await trio.sleep(0.5)


async def test_one_is_killed_in_its_tools_and_one_drained(start_daemon, fleet, tmp_path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    items = [f"i{number}" for number in range(6)]
    model = Looking(DONE, tool="exec", wait="sleep 0.2")
    async with scene(start_daemon(), work, model, driver="openclaw", within_s=WITHIN_S) as there:
        await _start(there.dash, fleet)
        more = {"mode": "gateway", "unsafe_no_jail": True, "limits": {"retries": 0, "timeout_s": 900}}
        swarm = await there.swarm("step {item}", agents=6, items=items, **more)
        victim = await _held(there, swarm, work, items)
        places = await _places(there, swarm, items)
        drained = next(name for name in fleet if name != victim)
        (third,) = set(fleet) - {victim, drained}
        fleet[victim].kill()
        await there.dash.call("gateway.drain", name=drained)
        await there.dash.events(swarm, "task.retrying", 2)
        (work / "go").touch()
        report = await there.ended(swarm)
        assert (report["tasks"]["completed"], report["attempts"]["total"]) == (6, 8), report
        assert report["attempts"]["lost"] == 2
        assert {_marks(work, each) for each in items} == {"1 2 3"}
        after = await _places(there, swarm, items)
        assert after == {each: third if place == victim else place for each, place in places.items()}
        assert round((await there.settled(swarm))["spent_usd"] * 1e9) == model.bill_nusd
        calls = there.provider.calls
        fleet[victim].start()
        await _ready(there.dash, victim)
        await _cleaned(fleet)
        await trio.sleep(20)  # so long it takes to take up by itself what was interrupted
        assert there.provider.calls == calls
        assert {_marks(work, each) for each in items} == {"1 2 3"}


async def _held(there: Scene, swarm: str, work: Path, items: list[str]) -> str:
    """A gateway both of whose agents are in the tool that waits."""
    while True:
        held = [each for each in items if _marks(work, each) == "1 2"]
        if len(held) > 1:
            places = await _places(there, swarm, held)
            for name in places.values():
                if list(places.values()).count(name) == 2:
                    return name
        await trio.sleep(0.2)


def _marks(work: Path, item: str) -> str:
    found = work / f"{item}.marks"
    return " ".join(found.read_text().split()) if found.exists() else ""
