"""What the real Pi must reach: starts beside the same ones by hand, and books that agree to the token."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import trio

from dashd.drivers.driver import ModelAccess, Work
from dashd.drivers.pi import PiDriver
from dashd.drivers.programs import Programs
from dashd.jail import probe
from dashd.runtime.world import STARTS_PER_CORE_MAX, cores
from tests.fakes.provider import MODEL, Act
from tests.live.scenes import DONE, Scene, end_node, pids_of, scene
from tests.live.stepping import Stepping, item_of

pytestmark = pytest.mark.live

AGENTS = 20
RATIO_MAX = 1.2
ROUNDS = 3


def by_hand(programs: Programs, folder: Path, url: str) -> list[str]:
    """The command of one Pi in a plain jail of bubblewrap's, which has the machine's network."""
    work = Work(
        argv=(), item="", task="", cwd=str(folder), swarm_id="s", agent_id="s-001", task_id="s-t1",
        timeout_s=300.0, model=ModelAccess(url, "dk_x", MODEL), isolated=False, write=(),
    )  # fmt: skip
    command = PiDriver(programs).command(work, {"PATH": os.environ["PATH"]})
    bwrap = probe.find_bwrap()
    assert bwrap is not None
    walls = ["--die-with-parent", "--new-session", "--unshare-all", "--share-net", "--clearenv"]
    shown = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    own = {**command.env, "HOME": "/run", "TMPDIR": "/tmp"}
    environ = [word for name, value in own.items() for word in ("--setenv", name, value)]
    return [bwrap, *walls, *shown, "--bind", str(folder), str(folder), "--chdir", str(folder), *environ,
            "--", *command.argv]  # fmt: skip


async def start_by_hand(argv: list[str], count: int) -> float:
    """Seconds until all of them have answered; as few at once as Dash has, each with a task from then on."""
    places = trio.Semaphore(STARTS_PER_CORE_MAX * cores())
    began = trio.current_time()

    async def one() -> None:
        async with places:
            process = await trio.lowlevel.open_process(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send_all(b'{"id":"ready","type":"get_state"}\n')
            said = b""
            while b'"id":"ready"' not in said:
                said += await process.stdout.receive_some(65_536)
        started.append(process)
        await process.stdin.send_all(b'{"id":"task","type":"prompt","message":"wait"}\n')

    started: list[trio.Process] = []
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
        return trio.current_time() - began
    finally:
        with trio.CancelScope(shield=True):  # bounded: they are killed
            for process in started:
                process.kill()
                await process.wait()


async def start_by_dash(on: Scene, count: int) -> float:
    """Seconds from the call until the last of them has answered, by when its holder got that."""
    began = time.time()
    swarm = await on.swarm("wait", agents=count, items=[f"i{number}" for number in range(count)])
    seen: dict[str, float] = {}
    launches = on.daemon.state / "launches"
    while len(seen) < count:
        for folder in launches.glob(f"{swarm}-*"):
            if folder.name not in seen and b'"id":"ready"' in _spooled(folder):
                seen[folder.name] = time.time()
        await trio.sleep(0.1)
    await on.dash.call("swarm.destroy", swarm=swarm)
    await on.dash.events(swarm, "swarm.destroyed")
    return max(seen.values()) - began


def _spooled(folder: Path) -> bytes:
    spool = folder / "spool"
    return spool.read_bytes() if spool.exists() else b""


async def test_twenty_are_ready_nearly_as_soon_as_by_hand(start_daemon, programs, tmp_path) -> None:
    async with scene(start_daemon(), tmp_path, lambda _: Act(delay_s=300.0), within_s=600.0) as on:
        argv = by_hand(programs, tmp_path, on.provider.url)
        await start_by_hand(argv, 2)  # what both read is in memory from now on
        hand, dash = [], []
        for _ in range(ROUNDS):
            hand.append(await start_by_hand(argv, AGENTS))
            dash.append(await start_by_dash(on, AGENTS))
        print(f"ready: by hand {hand}, by dash {dash}")
        assert min(dash) <= RATIO_MAX * min(hand), (hand, dash)


def _rows(rows: list[dict], agent: str, *, confirmed: bool) -> list[tuple[int, int]]:
    of_agent = [row for row in rows if row["agent"] == agent and row["confirmed"] is confirmed]
    return sorted((row["input_tokens"], row["output_tokens"]) for row in of_agent)


@pytest.mark.parametrize("what", ["nothing", "broken off", "killed in a tool", "ended in a tool"])
async def test_the_ledger_is_the_model_s_own_count_to_the_token(start_daemon, tmp_path, what) -> None:
    """Three agents at once: one is interfered with while its tool works, and no call of theirs is cut."""
    model = Stepping(DONE, tool="bash", wait="sleep 1")
    async with scene(start_daemon(), tmp_path, model, within_s=120.0) as on:
        swarm = await on.swarm("step {item}", agents=3, items=["i1", "i2", "i3"])
        while not (tmp_path / "i1.marks").exists():  # noqa: ASYNC110  # a file rings no bell
            await trio.sleep(0.02)
        (task, *_) = (await on.dash.call("task.list", swarm=swarm))["items"]
        agent = task["agent"]
        match what:
            case "broken off":
                await on.dash.call("agent.message", agent=agent, text="mind the gap", when="now")
            case "killed in a tool":
                end_node(agent)
            case "ended in a tool":
                await on.dash.call("agent.kill", agent=agent)
        report = await on.dash.ended(swarm)
        completed = 2 if what == "ended in a tool" else 3
        assert report["tasks"]["completed"] == completed, report
        rows = await on.calls(swarm)
        asked = {item_of(body) for body in model.bodies}
        assert len(asked) == 3
        for item in asked:
            who = {each["agent"] for each in (await on.dash.call("task.list", swarm=swarm))["items"]
                   if each["item"] == item}  # fmt: skip
            (name,) = who
            assert _rows(rows, name, confirmed=True) == sorted(model.used[item]), item
            assert _rows(rows, name, confirmed=False) == []
        await on.balanced(swarm)
        for item in asked - ({"i1"} if what == "ended in a tool" else set()):
            assert (tmp_path / f"{item}.marks").read_text().split() == ["1", "2", "3"]


@pytest.mark.parametrize("answers_s", [3.0, 60.0], ids=["it answers soon", "it does not"])
@pytest.mark.parametrize("what", ["broken off", "killed", "ended"])
async def test_a_call_whose_caller_has_gone(start_daemon, tmp_path, what, answers_s) -> None:
    """It is listened to for a while: then it is booked to the token like the others, or shown apart as
    unconfirmed, and not below what is billed.
    """
    model = Stepping(DONE, tool="bash", wait="true")
    slow = trio.Event()
    script = model.script

    def stalls(number: int) -> Act:
        act = script(number)
        return Act(delay_s=answers_s) if number == 2 else act

    model.script = stalls
    async with scene(start_daemon(), tmp_path, model, within_s=120.0) as on:

        async def note() -> None:
            if model.calls == 3:
                slow.set()

        model.on_call = note
        swarm = await on.swarm("step {item}", items=["i1"])
        await slow.wait()
        agent = f"{swarm}-001"
        match what:
            case "broken off":
                await on.dash.call("agent.message", agent=agent, text="mind the gap", when="now")
            case "killed":
                end_node(agent)
            case "ended":
                await on.dash.call("agent.kill", agent=agent)
        await on.dash.ended(swarm)
        node = await on.settled(swarm)
        rows = await on.calls(swarm)
        cut = [row for row in rows if not row["confirmed"]]
        complete = model.used["i1"] if answers_s < 10 else model.used["i1"][:2] + model.used["i1"][3:]
        assert _rows(rows, agent, confirmed=True) == sorted(complete)
        assert len(cut) == (0 if answers_s < 10 else 1)
        await (on.not_below(swarm) if cut else on.balanced(swarm))
        assert node["unconfirmed_usd"] == pytest.approx(sum(row["usd"] for row in cut))
        marks = (tmp_path / "i1.marks").read_text().split()
        assert marks == (["1", "2"] if what == "ended" else ["1", "2", "3"])
        assert pids_of(agent) == []
