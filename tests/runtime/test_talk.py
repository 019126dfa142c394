"""Talking to a program: every input written down before it is sent, none lost and none sent twice."""

import dataclasses
from functools import partial

import pytest
import trio
import trio.testing

from dashd.domain.gates import Gate
from dashd.drivers.command import CommandDriver
from dashd.drivers.driver import Work
from dashd.jail.holder_link import InputTaken
from dashd.runtime import approvals, bounds, run
from dashd.runtime.journal import Journal
from dashd.runtime.output import Output
from dashd.runtime.plan import read_plan
from dashd.runtime.run import Run
from dashd.runtime.supervisor import Supervisor
from dashd.runtime.talk import Talk, replayed
from dashd.store import agents, gates, inputs, stops
from dashd.store import approvals as rows
from dashd.store.inputs import InputRow
from tests.fakes.holders import FOR_EVER_S, FakeHolder
from tests.fakes.scene import SWARM
from tests.fakes.talking import READY, TalkingDriver

LAUNCH = f"{SWARM}-t1.1"


@pytest.fixture
def begun(bed):
    """A swarm of one task whose program is talked to, launched and running: its holder."""
    bed.world = dataclasses.replace(bed.world, drivers={"command": TalkingDriver()})
    bed.supervisor = Supervisor(bed.world, bed.nursery)

    async def begin(**swarm):
        bed.scene.swarm("a", **swarm)
        bed.go()
        return await bed.running(LAUNCH)

    return begin


def _rows(bed) -> list[tuple[int, str]]:
    return [(row.number, row.key) for row in inputs.of_launch(bed.store.db, LAUNCH)]


async def _launched(bed, count: int) -> list[FakeHolder]:
    """Returns once that many were launched: their holders, in order."""
    with trio.fail_after(FOR_EVER_S):
        while len(bed.launcher.holders) < count:
            await bed.launcher.stirred.wait()
    return list(bed.launcher.holders.values())


def _say(bed, text: str) -> None:
    bed.scene.do(lambda tx: inputs.add_message(tx, LAUNCH, text))


async def test_a_talk_from_hello_to_the_result(bed, autojump_clock, begun) -> None:
    holder = await begun()
    assert await holder.given(1) == [b"hello\n"]
    holder.prints(b"ready\nstep 1\nst")
    assert await holder.given(3) == [b"hello\n", b"go\n", b"more 1\n"]
    holder.prints(b"ep 2\ndone all of it\n")
    assert (await holder.given(5))[3:] == [b"more 2\n", b""]
    assert _rows(bed) == [(1, "hello"), (2, "go"), (3, "more:1"), (4, "more:2"), (5, "end")]
    holder.exits(0)
    await bed.until("swarm.completed")
    assert bed.scene.task().result == "all of it"
    assert bed.scene.task().progress_done == 2
    assert _rows(bed) == []  # nobody will ask again


@pytest.mark.parametrize("adopted", [False, True])
async def test_one_that_cannot_be_heard_any_more_is_ended_and_not_tried_again(
    bed, autojump_clock, begun, monkeypatch, adopted
) -> None:
    monkeypatch.setattr(bounds, "OUTPUT_BYTES_MAX", 40)
    holder = await begun()
    holder.prints(b"ready\n" + b"x" * 33)
    await holder.given(2)
    assert "breach" not in holder.verbs()
    if adopted:  # past its bound a holder says nothing of what is printed
        holder.drops()
    holder.prints(b"x", quietly=adopted)
    holder.exits(None, sig=9, breach=(await holder.asked("breach"))["breach"])
    await bed.until("swarm.failed")
    assert bed.scene.task().cause == bounds.UNHEARD
    assert [verb for verb in holder.verbs() if verb == "breach"] == ["breach"]
    assert len(bed.launcher.holders) == 1


@pytest.mark.parametrize("adopted", [False, True])
async def test_one_whose_output_is_lost_is_ended_at_once_and_tried_again(
    bed, autojump_clock, begun, adopted
) -> None:
    """It would seem to work until its time is over. What filled the disk need not be its doing."""
    holder = await begun()
    holder.prints(b"ready\n")
    await holder.given(2)
    if adopted:
        holder.drops()
    holder.loses(7, quietly=adopted)
    holder.loses(7, quietly=adopted)
    holder.exits(None, sig=9, breach=(await holder.asked("breach"))["breach"], spool_dropped=14)
    await bed.until("task.retrying")
    assert bed.scene.task().cause == bounds.LOST
    assert [verb for verb in holder.verbs() if verb == "breach"] == ["breach"]


async def test_what_a_program_has_come_to_before_stands(bed, autojump_clock, begun, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "OUTPUT_BYTES_MAX", 40)
    holder = await begun()
    holder.prints(b"ready\ndone all\n" + b"x" * 40)
    holder.exits(None, sig=9, breach=(await holder.asked("breach"))["breach"])
    await bed.until("swarm.completed")
    assert bed.scene.task().result == "all"


async def test_the_time_of_a_stage_does_not_count_while_it_is_stopped(bed, autojump_clock, begun) -> None:
    holder = await begun(retries=0)
    for hard, wanted in ((True, "pause"), (False, "run")):
        await trio.sleep(READY.limit_s - 1.0 if hard else 1_000.0)
        assert "stop" not in holder.verbs()
        bed.scene.do(partial(_want, wanted=wanted, hard=hard))
    paused_s = trio.current_time()
    holder.prints(b"ready\n")
    assert await holder.given(2) == [b"hello\n", b"go\n"]
    assert trio.current_time() - paused_s < 1.0


def _want(tx, wanted: str, *, hard: bool) -> None:
    agents.set_wanted(tx, f"{SWARM}-001", wanted, hard=hard)
    tx.ring("agents")


async def test_a_new_daemon_goes_on_where_the_old_one_was(bed, autojump_clock, begun) -> None:
    holder = await begun()
    holder.prints(b"ready\nstep 1\n")
    await holder.given(3)
    await bed.until("agent.progress")
    _say(bed, "also this")
    await holder.given(4)
    holder.drops()  # what follows is another adoption, which knows rows and spool alone
    holder.prints(b"step 2\n", quietly=True)
    assert (await holder.given(5))[3:] == [b"also this\n", b"more 2\n"]
    holder.prints(b"done x\n")
    await holder.given(6)
    holder.exits(0)
    await bed.until("swarm.completed")
    assert holder.inputs == [b"hello\n", b"go\n", b"more 1\n", b"also this\n", b"more 2\n", b""]
    dones = [event["data"]["done"] for event in bed.scene.events() if event["kind"] == "agent.progress"]
    assert dones == [1, 2]  # what was read again is not told again


async def test_an_end_while_nobody_looked_is_read_from_rows_and_spool(bed, autojump_clock, begun) -> None:
    holder = await begun()
    holder.prints(b"ready\n")
    await holder.given(2)
    holder.freezes()
    holder.prints(b"done late\n", quietly=True)
    holder.lingers = True
    holder.exits(0)
    holder.thaws()
    await bed.until("swarm.completed")
    assert bed.scene.task().result == "late"


async def test_what_the_holder_has_no_room_for_is_sent_again(bed, autojump_clock, begun) -> None:
    holder = await begun()
    await holder.given(1)
    holder.deaf = True
    holder.prints(b"ready\nstep 1\n")
    await trio.testing.wait_all_tasks_blocked()
    assert holder.inputs == [b"hello\n"]
    holder.hears_again()
    assert (await holder.given(3))[1:] == [b"go\n", b"more 1\n"]


async def test_a_message_that_came_too_late_is_told(bed, autojump_clock, begun) -> None:
    holder = await begun()
    holder.prints(b"ready\ndone x\n")
    await holder.given(3)  # the last of them is its end
    _say(bed, "also this")
    await trio.testing.wait_all_tasks_blocked()
    holder.exits(0)
    told = (await bed.until("agent.status"))["data"]
    assert told == {"messages_too_late": [1]}


def _gate(bed, verdict: str) -> None:
    gate = Gate("g", "command", "git *", 0, verdict, "operator", False, 600.0, "deny")
    bed.scene.do(lambda tx: gates.put(tx, gate))


@pytest.mark.parametrize(("verdict", "answer"), [("allow", b"allow\n"), ("deny", b"deny\n")])
async def test_a_gate_answers_at_once(bed, autojump_clock, begun, verdict, answer) -> None:
    _gate(bed, verdict)
    holder = await begun()
    holder.prints(b"ready\nmay git push\nmay ls\n")
    assert sorted((await holder.given(4))[2:]) == sorted([answer, b"allow\n"])


async def test_a_person_answers_later_and_the_wait_is_no_time_of_the_attempt(
    bed, autojump_clock, begun
) -> None:
    _gate(bed, "ask")
    holder = await begun(timeout_s=60.0)
    holder.prints(b"ready\nmay git push\n")
    asked = (await bed.until("approval.requested"))["data"]
    assert asked["what"] == "run `git push`"
    await trio.sleep(300)
    holder.drops()  # and after a crash the same question is the same request
    await holder.given(2)
    await trio.sleep(100)
    (row,) = rows.page(bed.store.db, 99, "", "", 9)
    bed.scene.do(lambda tx: rows.close(tx, row, "allowed", "operator:me", ""))
    assert (await holder.given(3))[2] == b"allow\n"
    assert "stop" not in holder.verbs()


@pytest.mark.parametrize("crash", [False, True])
async def test_a_question_about_what_is_broken_off_is_nobody_s_any_more(
    bed, autojump_clock, begun, crash
) -> None:
    """Nor does it hold the agent's next model call, and no daemon asks it again."""
    _gate(bed, "ask")
    holder = await begun()
    holder.prints(b"ready\nmay git push\n")
    await bed.until("approval.requested")
    bed.scene.do(lambda tx: inputs.add_message(tx, LAUNCH, "stop that", "now"))
    heard = bed.store.bells.agents.ticket()
    resolved = (await bed.until("approval.resolved"))["data"]
    with trio.fail_after(1):
        await heard.wait()  # by whoever holds its calls
    assert (resolved["state"], resolved["note"]) == ("withdrawn", "what it was at was broken off")
    assert (await holder.given(4))[2:] == [b"stop that\n", b"deny\n"]
    if crash:
        holder.drops()
    holder.prints(b"step 1\n")
    await holder.given(5)
    await trio.testing.wait_all_tasks_blocked()
    assert [row.state for row in rows.page(bed.store.db, 99, "", "", 9)] == ["withdrawn"]
    assert not rows.holds(bed.store.db, f"{SWARM}-001")


async def test_nobodys_answer_is_a_no(bed, autojump_clock, begun) -> None:
    _gate(bed, "ask")
    bed.nursery.start_soon(approvals.run, bed.world)
    holder = await begun()
    holder.prints(b"ready\nmay git push\n")
    assert (await holder.given(3))[2] == b"deny\n"
    assert trio.current_time() >= 600


async def test_a_stop_is_a_farewell_first(bed, autojump_clock, begun) -> None:
    holder = await begun(grace_s=4.0)
    await holder.given(1)
    bed.scene.do(lambda tx: (stops.requeue_all(tx), tx.ring("agents")))
    assert (await holder.given(2))[1] == b""
    assert "stop" not in holder.verbs()
    await holder.asked("stop")
    assert holder.requests[-1] == {"stop": 2.0}  # what the farewell has left of the grace


class SlowOutput(Output):
    """To read takes as long as anything else has to do."""

    async def grew(self, spool_bytes: int) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await super().grew(spool_bytes)


async def test_a_stop_is_heard_after_what_was_printed_before_a_daemon_came(
    bed, autojump_clock, begun, monkeypatch
) -> None:
    holder = await begun(grace_s=4.0)
    holder.prints(b"ready\n")
    await holder.given(2)
    holder.freezes()
    holder.drops()
    holder.prints(b"done all\n", quietly=True)
    bed.scene.do(lambda tx: (stops.requeue_all(tx), tx.ring("agents")))
    monkeypatch.setattr(run, "Output", SlowOutput)
    holder.thaws()
    await holder.given(3)
    assert _rows(bed) == [(1, "hello"), (2, "go"), (3, "end")]
    holder.exits(0)
    await bed.until("swarm.completed")
    assert bed.scene.task().result == "all"
    assert len(bed.launcher.holders) == 1  # and is not done once more


async def test_without_a_grace_there_is_no_farewell(bed, autojump_clock, begun) -> None:
    holder = await begun(grace_s=0.0)
    await holder.given(1)
    bed.scene.do(lambda tx: (stops.requeue_all(tx), tx.ring("agents")))
    await holder.asked("stop")
    assert holder.inputs == [b"hello\n"]


async def test_a_start_that_takes_too_long_fails_with_its_stage(bed, autojump_clock, begun) -> None:
    holder = await begun(retries=0)
    before = trio.current_time()
    assert (await holder.given(2))[1] == b""
    assert 29 < trio.current_time() - before < 31
    await holder.asked("stop")  # it does not leave either
    await bed.until("swarm.failed")
    assert bed.scene.task().cause == "expire:ready, exit code None"


async def test_few_get_ready_at_once(bed, autojump_clock, begun) -> None:
    bed.world = dataclasses.replace(bed.world, starts=trio.Semaphore(2))
    bed.supervisor = Supervisor(bed.world, bed.nursery)
    bed.scene.swarm(*"abcd", agents_made=4)
    bed.go()
    first, second = await _launched(bed, 2)
    await first.given(1)
    assert len(bed.launcher.ids) == 2
    first.prints(b"ready\n")
    assert len(await _launched(bed, 3)) == 3
    second.exits(1)
    await _launched(bed, 4)
    assert trio.current_time() < 1


async def test_one_that_the_kernel_stops_while_it_starts_keeps_nobody_from_starting(
    bed, autojump_clock, begun
) -> None:
    bed.world = dataclasses.replace(bed.world, starts=trio.Semaphore(1))
    bed.supervisor = Supervisor(bed.world, bed.nursery)
    bed.scene.swarm(*"ab", agents_made=2)
    bed.go()
    (first,) = await _launched(bed, 1)
    await first.given(1)
    bed.scene.do(partial(_want, wanted="pause", hard=True))
    assert len(await _launched(bed, 2)) == 2
    first.prints(b"ready\n")
    await first.given(2)
    assert bed.world.starts.value == 0  # the second one's, which is not ready


async def test_a_refused_launch_gives_its_place_back(bed, autojump_clock, begun) -> None:
    from dashd.jail.launcher import LaunchFailed

    bed.world = dataclasses.replace(bed.world, starts=trio.Semaphore(1))
    bed.supervisor = Supervisor(bed.world, bed.nursery)
    bed.scene.swarm("a", "b", agents_made=2, retries=0)
    bed.launcher.refusal = LaunchFailed("no room")
    bed.go()
    await bed.until("task.dead", 2)
    await trio.testing.wait_all_tasks_blocked()
    assert bed.world.starts.value == 1


def test_a_driver_without_a_conversation_replays_nothing(tmp_path) -> None:
    work = Work((), "", "", "/", "", "", "", 1.0)
    assert replayed(CommandDriver(), work, Journal(), tmp_path) is None


async def test_a_run_without_a_start_place_gives_none_back(bed, autojump_clock) -> None:
    bed.scene.swarm("a")
    before = bed.world.starts.value
    Run(bed.world, bed.claim()).give_way()
    assert bed.world.starts.value == before


async def test_what_the_holder_takes_back_while_another_is_sent_is_sent_again(bed) -> None:
    """It has had no room for the second, and has it again while the third is on its way."""
    rows = [InputRow(LAUNCH, number, f"k{number}", b"x", 0, None) for number in (1, 2, 3)]
    bed.scene.swarm("a")
    driver = TalkingDriver()
    plan = read_plan(bed.store.db, bed.claim(), 0)
    talk = Talk(bed.world, None, LAUNCH, driver.conversation(plan.work, {}), Journal(tuple(rows)))
    sent: list[int] = []

    class Link:
        async def send_input(self, number: int, data: bytes, *, eof: bool) -> None:
            await trio.lowlevel.checkpoint()
            if number == 3 and number not in sent:
                talk.taken(InputTaken(1, full=True, closed=False))
                talk.taken(InputTaken(1, full=False, closed=False))
            sent.append(number)

    await talk._send(Link())
    assert sent == [1, 2, 3, 2, 3]
