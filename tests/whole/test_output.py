"""What agents print: progress, logs by offset, results, and what no terminal or text was meant for."""

import pytest

from tests.whole.conftest import GATE

pytestmark = pytest.mark.slow

RESULT_BYTES_MAX = 65_536


async def test_progress_is_shown_while_it_works(dash, gate):
    script = """
echo '@dash {"progress": [3, 5], "note": "half"}'
echo '@dash {"progress": "much"}'; echo '@dash not json'; echo 'x @dash {"progress": [9, 9]}'
read -r _ < "$1"
"""
    created = await dash.swarm(script, gate.path)
    (event,) = await dash.events(created["id"], "agent.progress")
    assert event["data"] == {"note": "half", "done": 3, "total": 5}
    agent = await dash.call("agent.get", agent=event["agent"])
    assert (agent["progress"], agent["note"]) == ("3/5", "half")
    gate.let()
    report = await dash.ended(created["id"])
    assert (await dash.call("task.get", task=event["task"]))["progress"] == "3/5"
    assert report["outcome"] == "complete"


async def test_logs_are_read_on_by_offset_and_waited_for(dash, gate):
    created = await dash.swarm(f"echo one; echo two >&2; {GATE}; echo three", gate.path)
    agent = f"{created['id']}-001"
    await dash.events(created["id"], "agent.started")
    text, offset = "", 0
    while text.count("\n") < 2:
        logs = await dash.call("agent.logs", agent=agent, offset=offset, wait_s=20)
        text, offset = text + logs["text"], logs["next_offset"]
        assert logs["ended"] is False
    assert sorted(text.split()) == ["one", "two"]
    nothing_new = await dash.call("agent.logs", agent=agent, offset=offset, wait_s=0)
    assert (nothing_new["text"], nothing_new["next_offset"]) == ("", offset)
    gate.let()
    third = await dash.call("agent.logs", agent=agent, offset=offset, wait_s=20)
    assert third["text"] == "three\n"
    await dash.ended(created["id"])
    last = await dash.call("agent.logs", agent=agent, offset=third["next_offset"], wait_s=20)
    assert (last["text"], last["ended"]) == ("", True)


async def test_one_stream_or_both_and_the_last_bytes_of_them(dash):
    created = await dash.swarm("echo out; echo err >&2")
    await dash.ended(created["id"])
    agent = f"{created['id']}-001"
    texts = {
        stream: (await dash.call("agent.logs", agent=agent, stream=stream))["text"]
        for stream in ("stdout", "stderr", "both")
    }
    assert (texts["stdout"], texts["stderr"]) == ("out\n", "err\n")
    assert sorted(texts["both"].split()) == ["err", "out"]
    tail = await dash.call("agent.logs", agent=agent, stream="stdout", bytes_max=2)
    assert tail["text"] == "t\n"


async def test_every_attempt_keeps_its_own_log(dash, tmp_path):
    flag = tmp_path / "flag"
    created = await dash.swarm(
        'if [ -e "$1" ]; then echo second; else : > "$1"; echo first; exit 1; fi', str(flag)
    )
    await dash.ended(created["id"])
    agent = f"{created['id']}-001"
    texts = [(await dash.call("agent.logs", agent=agent, attempt=number))["text"] for number in (1, 2)]
    assert texts == ["first\n", "second\n"]
    assert (await dash.call("agent.logs", agent=agent))["attempt"] == 2


async def test_of_a_huge_output_the_last_64_kib_are_the_result(dash):
    created = await dash.swarm("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end")
    await dash.ended(created["id"])
    result = await dash.call("agent.result", agent=f"{created['id']}-001")
    assert len(result["result"]) == RESULT_BYTES_MAX
    assert result["result"].endswith("x\nthe end\n")
    report = await dash.call("swarm.report", swarm=created["id"])
    assert (len(report["results"][0]["result"]), report["results"][0]["truncated"]) == (400, True)
    assert report["results"][0]["result"].endswith("x\nthe end\n")


async def test_bytes_that_are_no_text_are_replaced_and_harm_nothing(dash):
    created = await dash.swarm(
        r"printf 'a\377\376\000b\033[2Jc\n'; printf '\377' >&2; exit 3", limits={"retries": 0}
    )
    report = await dash.ended(created["id"])
    assert (report["failures"][0]["cause"], "\ufffd" in report["failures"][0]["last_lines"]) == (
        "exit code 3",
        True,
    )
    logs = await dash.call("agent.logs", agent=f"{created['id']}-001", stream="stdout")
    assert logs["text"] == "a\ufffd\ufffd\0b\x1b[2Jc\n"


async def test_an_agent_gets_little_of_the_daemons_environment(dash, daemon):
    assert "XDG_CONFIG_HOME" in daemon.environ
    created = await dash.swarm("env", name="env")
    report = await dash.ended(created["id"])
    names = {line.partition("=")[0] for line in report["results"][0]["result"].splitlines()}
    assert {"PATH", "DASH_SWARM", "DASH_AGENT", "DASH_TASK"} <= names
    assert not names & {"XDG_CONFIG_HOME", "DASH_STATE_DIR", "PYTHONPATH"}


async def test_stdin_is_empty(dash):
    created = await dash.swarm("cat; echo read")
    assert (await dash.ended(created["id"]))["results"][0]["result"] == "read\n"
