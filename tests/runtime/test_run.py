"""One attempt from its claim to its end, over a holder that the test steers."""

import dataclasses

import pytest
import trio
import trio.testing

from dashd.domain import scope
from dashd.domain.gates import Gate
from dashd.jail.launcher import ForkServerGone, LaunchFailed
from dashd.runtime.run import Run
from dashd.runtime.supervisor import Supervisor
from dashd.store import attempts, gates, stops
from dashd.wire import errors
from tests.fakes.scene import SWARM

LAUNCH = f"{SWARM}-t1.1"


async def test_a_launch_is_what_the_rows_say(bed, autojump_clock, begun) -> None:
    holder = await begun(argv='["cc","{item}"]', cwd="/tmp", lease_s=7.0, grace_s=2.0)
    (spec,) = bed.launcher.specs
    assert (spec.launch_id, spec.argv, spec.cwd) == (LAUNCH, ("cc", "a"), "/tmp")
    assert (spec.lease_s, spec.grace_s, spec.stdin) == (7.0, 2.0, False)
    assert spec.env == {
        "PATH": "/usr/bin:/bin",
        "DASH_SWARM": SWARM,
        "DASH_AGENT": f"{SWARM}-001",
        "DASH_TASK": f"{SWARM}-t1",
    }
    assert holder.requests == [{"adopt": 1}]
    assert (bed.scene.agent().state, bed.scene.agent().liveness) == ("running", "alive")


async def test_a_good_end(bed, autojump_clock, begun) -> None:
    holder = await begun()
    holder.prints(b"noise\n", stream=2)
    holder.prints(b"the result\n")
    holder.exits(0)
    await bed.until("swarm.completed")
    task = bed.scene.task()
    assert (task.state, task.result) == ("completed", "the result\n")
    (row,) = attempts.of_task(bed.store.db, task.id, 9)
    assert (row.state, row.exit_code, row.cpu_ms, row.rss_max_kib) == ("succeeded", 0, 5, 2048)
    await trio.testing.wait_all_tasks_blocked()
    assert bed.supervisor._runs == {}


@pytest.mark.parametrize(
    ("exits", "reason"),
    [
        ({"code": 2}, "exit code 2"),
        ({"code": None, "sig": 9}, "ended by signal 9"),
        ({"code": None, "reason": "start", "error": "exec: no file"}, "could not start: exec: no file"),
    ],
)  # fmt: skip
async def test_a_bad_end_says_how(bed, autojump_clock, begun, exits, reason) -> None:
    holder = await begun(retries=0)
    holder.exits(**exits)
    await bed.until("swarm.failed")
    assert bed.scene.task().cause == reason


async def test_an_end_before_anybody_listened_is_read_from_the_record(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    bed.launcher.script = lambda holder: (holder.prints(b"42"), holder.exits(0))
    bed.go()
    await bed.until("swarm.completed")
    assert bed.scene.task().result == "42"


async def test_a_refused_launch_is_a_failure(bed, autojump_clock) -> None:
    bed.scene.swarm("a", retries=0)
    bed.launcher.refusal = LaunchFailed("no room")
    bed.go()
    await bed.until("swarm.failed")
    assert bed.scene.task().cause == "could not start: no room"


async def test_a_launch_in_doubt_that_never_began_is_repeated_ever_slower_and_counts_nothing(
    bed, autojump_clock
) -> None:
    bed.scene.swarm("a", retries=0)
    bed.launcher.refusal = ForkServerGone("gone")
    bed.go()
    await bed.until("task.retrying", 4)
    assert [round(at, 1) for at in bed.launcher.at] == [0.0, 0.0, 1.0, 3.0]
    assert (bed.scene.task().attempts, bed.scene.task().cause) == (0, "dashd went away before it started")
    bed.launcher.refusal = None
    bed.launcher.script = lambda holder: holder.exits(0)
    await bed.until("swarm.completed")
    # What was given up for ever can never begin, whoever comes late.
    assert (bed.world.folder(LAUNCH) / "begin").read_bytes() == b"tombstone\n"


async def test_a_launch_in_doubt_that_did_begin_is_adopted(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    bed.launcher.gone = ForkServerGone("its answer was lost")
    bed.go()
    holder = await bed.running(LAUNCH)
    holder.exits(0)
    await bed.until("swarm.completed")
    assert bed.launcher.ids == [LAUNCH]


async def test_a_stop_before_the_launch_executes_nothing(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    claim = bed.claim()
    bed.scene.do(lambda tx: stops.cancel(tx, bed.scene.task(), "on request"))
    bed.supervisor.start(claim)
    await bed.until("task.cancelled")
    assert bed.launcher.ids == []


async def test_a_broken_connection_is_made_again_and_gives_no_extra_time(bed, autojump_clock, begun) -> None:
    holder = await begun(timeout_s=300.0)
    await trio.sleep(200)
    holder.drops()
    await trio.testing.wait_all_tasks_blocked()
    assert holder.verbs() == ["adopt", "adopt"]
    await holder.asked("stop")
    assert trio.current_time() == pytest.approx(300)


async def test_a_killed_holder_loses_the_attempt_and_not_the_task(bed, autojump_clock, begun) -> None:
    holder = await begun(retries=0)
    holder.dies()
    event = await bed.until("agent.lost")
    assert "holder was killed" in event["data"]["reason"]
    again = await bed.running(f"{SWARM}-t1.2")
    again.exits(0)
    await bed.until("swarm.completed")
    assert trio.current_time() == pytest.approx(1.0)


async def test_a_lease_that_ran_out_loses_the_attempt(bed, autojump_clock, begun) -> None:
    holder = await begun(lease_s=7.0)
    holder.exits(None, sig=9, reason="lease")
    event = await bed.until("agent.lost")
    assert event["data"]["reason"] == "dashd was away longer than its lease of 7 s"


async def test_a_cancelled_run_lets_go_and_asks_nothing(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    async with trio.open_nursery() as ring:
        Supervisor(bed.world, ring).start(bed.claim())
        holder = await bed.running(LAUNCH)
        ring.cancel_scope.cancel(reason="dashd is stopping")
    await trio.testing.wait_all_tasks_blocked()
    assert holder.verbs() == ["adopt"]
    assert attempts.get(bed.store.db, LAUNCH).state == "running"


async def test_a_damaged_output_file_ends_nobody_else(bed, autojump_clock, begun) -> None:
    holder = await begun(retries=0)
    (holder.folder / "spool").write_bytes(b"\xff" * 100)
    holder._say("spool", 100)
    await trio.testing.wait_all_tasks_blocked()
    assert bed.scene.agent().state == "running"
    holder.exits(0, spool_bytes=100)
    await bed.until("swarm.failed")
    assert bed.scene.task().cause == "its output file is damaged, so its result is not known"


async def test_a_full_disk_keeps_the_run_and_writes_its_end_later(bed, autojump_clock, begun) -> None:
    holder = await begun()
    bed.store.writer.refusal = errors.StoreFull("full.")
    holder.exits(0)
    await trio.sleep(5)
    assert bed.scene.task().state == "running"
    assert "full." in bed.world.trouble.text
    bed.store.writer.refusal = None
    await bed.until("swarm.completed")
    await trio.testing.wait_all_tasks_blocked()
    assert bed.world.trouble.text == ""


async def test_a_holder_that_still_lingers_after_the_end_tells_it(bed, autojump_clock) -> None:
    def script(holder) -> None:
        holder.lingers = True
        holder.exits(0)

    bed.scene.swarm("a")
    bed.launcher.script = script
    bed.go()
    await bed.until("swarm.completed")
    assert bed.launcher.holders[LAUNCH].verbs() == ["adopt"]


async def test_output_that_was_not_kept_is_counted_and_the_result_called_cut(
    bed, autojump_clock, begun
) -> None:
    holder = await begun()
    holder.prints(b"the beginning")
    holder.exits(0, spool_dropped=5_000)
    await bed.until("swarm.completed")
    (row,) = attempts.of_task(bed.store.db, f"{SWARM}-t1", 9)
    assert row.output_dropped == 5_000
    assert (bed.scene.task().result, bed.scene.task().result_cut) == ("the beginning", 1)
    assert attempts.sums(bed.store.db, SWARM)[-1] == 1


async def test_a_result_is_the_end_of_the_output(bed, autojump_clock, begun) -> None:
    holder = await begun()
    holder.prints(b"x" * 60_000)
    holder.prints(b"y" * 60_000 + b"END")
    holder.exits(0)
    await bed.until("swarm.completed")
    result = bed.scene.task().result
    assert (len(result), result[-3:], bed.scene.task().result_cut) == (65_536, "END", 1)


async def test_what_it_must_ask_about_is_decided_when_it_starts(bed, autojump_clock) -> None:
    bed.scene.swarm("a", scope=scope.to_json(scope.parse(write=["."], deny=["rm *"])))
    bed.scene.do(lambda tx: gates.put(tx, Gate("g", "path", "", 0, "ask", "operator", False, 9.0, "deny")))
    run = Run(bed.world, bed.claim())
    await run.prepare()
    assert run.plan.work.asks == ("command", "path")


async def test_while_the_connection_to_a_gateway_is_lost_nobody_knows(
    bed, autojump_clock, begun, monkeypatch
) -> None:
    """And where there is another one, it is known again. Its rows are those of a process, like its holder."""
    seen: list[str] = []
    follow, attach = Run._follow, Run.attach

    async def followed(run, link):
        try:
            return await follow(run, link)
        finally:
            run._plan = dataclasses.replace(run.plan, gateway=True)

    async def attached(run):
        seen.append(bed.scene.agent().liveness)
        return await attach(run)

    monkeypatch.setattr(Run, "_follow", followed)
    monkeypatch.setattr(Run, "attach", attached)
    holder = await begun()
    holder.drops()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["unknown"]
    assert bed.scene.agent().liveness == "alive"
