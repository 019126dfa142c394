"""Bad input: each answer says what was wrong, what would be right or what to run; nothing is made halfway."""

import pytest

from tests.whole import door
from tests.whole.conftest import GATE

GOOD = {"task": "t", "argv": ["true"], "cwd": "/"}

WRONG = [
    # method, params, kind, path, words of message and hint
    ("swarm.create", {}, "InvalidParams", "task", "`task` is missing", "a string of 1 to 10,000 characters"),
    ("swarm.create", GOOD | {"agents": 0}, "InvalidParams", "agents", "too small", "from 1 to 100"),
    ("swarm.create", GOOD | {"agents": 101}, "InvalidParams", "agents", "too large", "from 1 to 100"),
    ("swarm.create", GOOD | {"agents": "5"}, "InvalidParams", "agents", "may not be a string", "an integer"),
    ("swarm.create", GOOD | {"task": ""}, "InvalidParams", "task", "too short", "1 to 10,000"),
    ("swarm.create", GOOD | {"task": "x" * 10_001}, "InvalidParams", "task", "too long", "1 to 10,000"),
    (
        "swarm.create",
        GOOD | {"agnets": 3},
        "InvalidParams",
        "agnets",
        "no parameter",
        "Did you mean `agents`?",
    ),
    ("swarm.create", GOOD | {"items": []}, "InvalidParams", "items", "too short", "a list of 1 to 10,000"),
    ("swarm.create", GOOD | {"strategy": "paralel"}, "InvalidParams", "strategy", "paralel", "`parallel`"),
    (
        "swarm.create",
        GOOD | {"limits": {"retries": 11}},
        "InvalidParams",
        "limits.retries",
        "too large",
        "0 to 10",
    ),
    (
        "swarm.create",
        GOOD | {"driver": "emacs"},
        "Unsupported",
        "driver",
        "no driver 'emacs'",
        "command",
    ),
    (
        "swarm.create",
        {"task": "t", "cwd": "/", "driver": "command"},
        "InvalidParams",
        "argv",
        "needs argv",
        '["bash", "-c"',
    ),
    (
        "swarm.create",
        {"task": "t", "cwd": "/", "driver": "openclaw"},
        "Unsupported",
        "driver",
        "neither installed nor configured",
        "dashctl program install",
    ),
    (
        "swarm.create",
        {"task": "t", "argv": ["true"]},
        "InvalidParams",
        "cwd",
        "cwd is missing",
        "absolute path",
    ),
    ("swarm.create", GOOD | {"cwd": "here"}, "InvalidParams", "cwd", "not an absolute path", "absolute"),
    ("swarm.create", GOOD | {"cwd": "/nowhere"}, "InvalidParams", "cwd", "no folder /nowhere", "create it"),
    ("swarm.create", GOOD | {"argv": ["no-such-program"]}, "InvalidParams", "argv", "no program", "PATH"),
    ("swarm.create", GOOD | {"argv": ["a\0b"]}, "InvalidParams", "argv", "NUL", "leave it out"),
    ("swarm.get", {"swarm": "nobody"}, "UnknownSwarm", "swarm", "no swarm 'nobody'", "swarm.list"),
    ("swarm.report", {"swarm": "nobody"}, "UnknownSwarm", "swarm", "no swarm 'nobody'", "swarm.list"),
    ("agent.get", {"agent": "nobody-001"}, "UnknownAgent", "agent", "no agent 'nobody-001'", "agent.list"),
    ("agent.kill", {"agent": "nobody-001"}, "UnknownAgent", "agent", "no agent 'nobody-001'", "agent.list"),
    ("task.get", {"task": "nobody.1"}, "UnknownTask", "task", "no task 'nobody.1'", "task.list"),
    ("event.wait", {"swarm": "nobody"}, "UnknownSwarm", "swarm", "no swarm 'nobody'", "swarm.list"),
    ("event.wait", {"kinds": ["task.finished"]}, "InvalidParams", "kinds", "task.finished", "task."),
    ("event.wait", {"timeout_s": -1}, "InvalidParams", "timeout_s", "too small", "from 0 to 3,600"),
    ("swarm.craete", {}, "UnknownMethod", "", "swarm.craete", "swarm.create"),
]


@pytest.mark.parametrize(
    ("method", "params", "kind", "path", "wrong", "right"), WRONG, ids=lambda value: str(value)[:40]
)
async def test_what_was_wrong_what_would_be_right(dash, method, params, kind, path, wrong, right):
    before = await dash.call("swarm.list")
    with pytest.raises(door.Refused) as caught:
        await dash.call(method, **params)
    refused = caught.value
    assert (refused.kind, refused.path) == (kind, path)
    assert wrong in refused.message
    assert right in refused.hint
    assert (await dash.call("swarm.list"))["total"] == before["total"]


@pytest.mark.slow
async def test_a_program_that_is_not_there_when_its_turn_comes_fails_that_task_alone(dash):
    created = await dash.call(
        "swarm.create", task="t", agents=2, items=["/bin/true", "/no/such/program"], argv=["{item}"], cwd="/",
        limits={"retries": 0},
    )  # fmt: skip
    report = await dash.ended(created["id"])
    assert report["tasks"] == {"total": 2, "completed": 1, "dead": 1}
    (failure,) = report["failures"]
    assert failure["item"] == "/no/such/program"
    assert "could not start" in failure["cause"]
    assert "No such file or directory" in failure["cause"]


@pytest.mark.slow
async def test_a_folder_that_is_gone_when_its_turn_comes_fails_that_task(dash, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    created = await dash.swarm(
        'rmdir "$1"', str(folder), cwd=str(folder), agents=1, items=["x", "y"], limits={"retries": 0}
    )
    report = await dash.ended(created["id"])
    assert report["tasks"] == {"total": 2, "completed": 1, "dead": 1}
    assert str(folder) in report["failures"][0]["cause"]


@pytest.mark.slow
async def test_the_command_driver_takes_no_messages_and_says_so(dash, gate):
    created = await dash.swarm(GATE, gate.path)
    await dash.events(created["id"], "agent.started")
    with pytest.raises(door.Refused) as caught:
        await dash.call("agent.message", agent=f"{created['id']}-001", text="hello")
    assert (caught.value.kind, caught.value.category) == ("Unsupported", "unsupported")
    assert "driver command" in caught.value.message


@pytest.mark.slow
async def test_an_ended_agent_cannot_be_paused(dash):
    created = await dash.swarm("true")
    await dash.ended(created["id"])
    with pytest.raises(door.Refused, match=r"IllegalTransition: agent .* has ended: completed"):
        await dash.call("agent.pause", agent=f"{created['id']}-001")
    assert (await dash.call("agent.kill", agent=f"{created['id']}-001"))["changed"] is False


@pytest.mark.slow
async def test_the_same_key_creates_once_and_other_parameters_are_refused(dash):
    first = await dash.swarm("true", idempotency_key="once")
    again = await dash.swarm("true", idempotency_key="once")
    assert (again["id"], first["deduplicated"], again["deduplicated"]) == (first["id"], False, True)
    with pytest.raises(door.Refused, match=r"IdempotencyConflict.*'once' was used for swarm.create"):
        await dash.swarm("false", idempotency_key="once")
    with pytest.raises(door.Refused, match=r"IdempotencyConflict"):
        await dash.call("agent.spawn", swarm=first["id"], task="t", idempotency_key="once")


async def test_shell_characters_are_never_interpreted(dash):
    nasty = "$(id) `id` ; rm -rf / | & > < * ? ~ \" ' \\ {task} {item}"
    created = await dash.call(
        "swarm.create", task=nasty, items=[nasty], argv=["printf", "%s|%s", "{item}", "{task}"], cwd="/"
    )
    report = await dash.ended(created["id"])
    assert report["results"][0]["result"] == f"{nasty}|{nasty}"
