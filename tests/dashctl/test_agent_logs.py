"""What an agent printed, shown harmlessly, and followed by its offset."""

import json
import threading

import pytest

from dashctl import following
from dashd.wire.methods import agent
from tests.dashctl import answers
from tests.fakes import daemon as fake

TEXT = "".join(f"line {number}\n" for number in range(50))


def spool(dashd, text: str, *, piece: int = 10_000) -> None:
    """The agent has printed `text` and ended; dashd gives `piece` characters at a time."""

    def read(params: agent.ReadLogs) -> agent.Logs:
        offset = params.offset if isinstance(params.offset, int) else 0
        found = text[offset : offset + piece]
        return answers.logs(found, next_offset=offset + len(found), ended=offset + len(found) >= len(text))

    dashd.on("agent.logs", read)


def test_the_end_is_shown_and_cut_to_the_lines_asked_for(dashd, ctl):
    spool(dashd, TEXT)
    assert ctl("agent", "logs", answers.AGENT).out == TEXT
    assert ctl("agent", "logs", answers.AGENT, "-n", "2").out == "line 48\nline 49\n"
    assert ctl("agent", "logs", answers.AGENT, "-n", "0").out == ""


def test_all_of_it_is_read_in_pieces(dashd, ctl):
    spool(dashd, TEXT, piece=7)
    assert ctl("agent", "logs", answers.AGENT, "--all").out == TEXT
    assert dashd.asked("agent.logs")[0]["offset"] == 0


def test_a_follower_goes_on_until_the_end_and_stays_with_its_attempt(dashd, ctl):
    spool(dashd, TEXT, piece=11)
    ran = ctl("agent", "logs", answers.AGENT, "-f")
    assert ran.out == TEXT
    assert ran.err == "(attempt 1 has ended)\n"
    asked = dashd.asked("agent.logs")
    assert "wait_s" not in asked[0]
    assert all(params["attempt"] == 1 and params["wait_s"] > 0 for params in asked[1:])


def test_a_sequence_in_two_pieces_is_still_no_sequence(dashd, ctl):
    spool(dashd, "\x1b[31mred\x1b[0m\x1b]0;title\x07 done", piece=3)
    assert ctl("agent", "logs", answers.AGENT, "-f").out == "red done\n"


def test_an_agent_that_has_not_started_is_said(dashd, ctl):
    dashd.on("agent.logs", answers.logs("", attempt=None, ended=False))
    ran = ctl("agent", "logs", answers.AGENT)
    assert (ran.code, ran.out) == (0, "")
    assert "has not started yet" in ran.err


def test_raw_is_for_pipes(dashd, ctl):
    spool(dashd, "\x1b[31mred")
    assert ctl("agent", "logs", answers.AGENT, "--raw").out == "\x1b[31mred"
    refused = ctl("agent", "logs", answers.AGENT, "--raw", columns=80)
    assert refused.code == 2
    assert "--raw is for files and pipes" in refused.err


def test_json_is_one_object_and_a_line_each_when_following(dashd, ctl):
    spool(dashd, TEXT, piece=200)
    assert json.loads(ctl("agent", "logs", answers.AGENT, "--json", "-n", "1").out)["text"].count("\n") <= 1
    lines = ctl("agent", "logs", answers.AGENT, "-f", "--json").out.splitlines()
    assert "".join(json.loads(line)["text"] for line in lines) == TEXT


@pytest.mark.parametrize("dies_after", [1, 3])
def test_a_follower_survives_a_restart(dashd, ctl, monkeypatch, dies_after: int):
    monkeypatch.setattr(following, "_PAUSES_S", (0.005,))
    spool(dashd, TEXT, piece=100)
    as_it_was = dashd._daemon._handlers["agent.logs"]

    def read(params: agent.ReadLogs) -> object:
        # At this call dashd is busy until it is killed; after that it answers as it did.
        busy = len(dashd.asked("agent.logs")) == dies_after + 1
        return fake.wait_for_ever(params) if busy else as_it_was(params)

    dashd.on("agent.logs", read)

    def kill() -> None:
        dashd.wait_asked("agent.logs", dies_after + 1)
        dashd.die()
        dashd.live()

    killer = threading.Thread(target=kill)
    killer.start()
    ran = ctl("agent", "logs", answers.AGENT, "-f")
    killer.join()
    assert ran.out == TEXT
    assert "dashd is back" in ran.err
