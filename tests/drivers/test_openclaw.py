"""How a task becomes OpenClaw's command: a runner, one provider, no fallback, its listener alone."""

import json
from pathlib import Path

import pytest

from dashd.drivers.driver import ModelAccess, Session, Work
from dashd.drivers.openclaw import FOOTPRINT, GATE, GATE_ID, RUNNER, OpenClawDriver
from dashd.drivers.openclaw_config import TOOLS
from dashd.drivers.openclaw_conversation import REFUSED
from dashd.drivers.openclaw_transcript import SESSION
from dashd.drivers.programs import ProgramGone, Programs
from dashd.jail import view
from dashd.proxy.formats import refusals
from dashd.wire import errors

MODEL = ModelAccess("http://127.0.0.1:8787/v1", "dk_canary", "a -> b")
GIB = 1 << 30


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    for name in ("node", "openclaw.mjs"):
        (tmp_path / name).write_text("")
    return Programs(None, {"node": str(tmp_path / "node"), "openclaw": str(tmp_path / "openclaw.mjs")})


def _work(**more) -> Work:
    given = {
        "argv": (), "item": "a.txt", "task": "count", "cwd": "/w", "swarm_id": "s", "agent_id": "s-001",
        "task_id": "s-t1", "timeout_s": 300.0, "model": MODEL, "isolated": True, "write": ("/w",),
    }  # fmt: skip
    return Work(**(given | more))


def _told(programs: Programs, **more) -> dict:
    return json.loads(OpenClawDriver(programs).command(_work(**more), {}).env["DASH_OPENCLAW"])


def test_the_command(programs: Programs, tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin", "ANTHROPIC_API_KEY": "canary"}
    command = OpenClawDriver(programs).command(_work(), environ)
    assert command.argv[1:] == ("-I", "-S", f"{view.CODE}/dashd/drivers/{RUNNER.name}")
    assert (command.stdin, command.cwd, command.programs) == (True, "/w", (str(tmp_path),))
    assert "canary" not in str(command.env.get("ANTHROPIC_API_KEY"))
    assert command.env["DASH_MODEL_KEY"] == "dk_canary"
    assert "dk_canary" not in " ".join(command.argv)  # which every local user can read
    assert command.reserved_bytes > 4 * GIB


def test_without_a_jail_the_runner_is_where_dashd_is(programs: Programs) -> None:
    command = OpenClawDriver(programs).command(_work(isolated=False), {})
    assert command.argv[-1] == str(RUNNER)
    assert RUNNER.is_file()
    assert _told(programs, isolated=False)["config"]["tools"]["fs"] == {"workspaceOnly": True}


def test_its_state_is_in_the_folder_of_its_session(programs: Programs) -> None:
    assert _told(programs, session=Session("/launches/x/session"))["state"] == "/launches/x/session"
    assert _told(programs)["state"] is None
    assert _told(programs, session=Session("/launches/x/session"))["seed"] is None
    assert OpenClawDriver(programs).keeps_session


def test_what_it_begins_with_is_taken_over_by_its_own_doctor(programs: Programs) -> None:
    driver = OpenClawDriver(programs)
    seed = _told(programs, session=Session("/launches/x/session", forked=True))["seed"]
    assert driver.sessions is not None
    assert seed["file"] == driver.sessions.file_name(0)
    assert seed["store"].rpartition("/")[0] == seed["file"].rpartition("/")[0]
    ((key, entry),) = seed["sessions"].items()
    assert (key, entry["sessionFile"]) == (SESSION, seed["file"].rpartition("/")[2])
    assert seed["argv"][:2] == _told(programs)["argv"][:2]
    assert "doctor" in seed["argv"]


def test_a_turn_is_one_process_of_one_session(programs: Programs, tmp_path: Path) -> None:
    node, openclaw, *flags = _told(programs)["argv"]
    assert (node, openclaw) == (str(tmp_path / "node"), str(tmp_path / "openclaw.mjs"))
    assert {"--local", "--json", "--session-key"} <= set(flags)
    assert flags[-2:] == ["--model", "dash/a -> b"]


def test_one_that_is_no_script_needs_no_node_before_it(programs: Programs, tmp_path: Path) -> None:
    own = tmp_path / "openclaw"
    own.write_text("")
    found = Programs(None, {**programs.configured, "openclaw": str(own)})
    assert _told(found)["argv"][0] == str(own)


def test_its_configuration_knows_the_listener_and_nothing_else(programs: Programs) -> None:
    told = _told(programs)
    config = told["config"]
    assert config["models"]["mode"] == "replace"
    (provider,) = config["models"]["providers"].values()
    assert (provider["baseUrl"], provider["apiKey"]) == (MODEL.url, "${DASH_MODEL_KEY}")
    (agent,) = config["agents"]["entries"].values()
    assert agent["model"] == {"primary": "dash/a -> b", "fallbacks": []}
    assert (agent["workspace"], agent["tools"]["allow"]) == ("/w", list(TOOLS))
    assert config["tools"]["toolSearch"] is False
    assert config["plugins"] == {"enabled": False}
    assert config["agents"]["defaults"]["utilityModel"] == ""
    assert "dk_canary" not in json.dumps(told)


def test_it_asks_first_where_there_are_gates(programs: Programs) -> None:
    command = OpenClawDriver(programs).command(_work(asks=("command", "tool")), {})
    assert (command.env["DASH_ASK"], command.env["DASH_ASK_URL"]) == (
        "command,tool",
        "http://127.0.0.1:8787/dash/v1/ask",
    )
    told = _told(programs, asks=("tool",))
    assert told["argv"][1] == "--disable-sigusr1"
    plugins = told["config"]["plugins"]
    assert plugins["allow"] == [GATE_ID]
    assert plugins["load"] == {"paths": ["${DASH_OPENCLAW_GATE}"]}
    assert json.loads(told["gate"]["openclaw.plugin.json"])["id"] == GATE_ID
    assert json.loads(told["gate"]["package.json"])["openclaw"] == {"extensions": [f"./{GATE.name}"]}
    assert told["gate"][GATE.name] == GATE.read_text()
    assert _told(programs)["gate"] == {}
    assert f'id: "{GATE_ID}"' in GATE.read_text()
    assert "DASH_ASK" not in OpenClawDriver(programs).command(_work(), {}).env


def test_programs_that_have_gone_are_not_replaced_by_others(programs: Programs, tmp_path: Path) -> None:
    """Nor does what is begun with it count as a run of its task."""
    for name in ("node", "openclaw.mjs"):
        (tmp_path / name).unlink()
        with pytest.raises(ProgramGone, match=rf"programs\.{name[:4]}.* which is no program") as gone:
            _told(programs)
        assert gone.value.ends == "never"


def test_its_first_turn_is_the_brief(programs: Programs) -> None:
    talk = OpenClawDriver(programs).conversation(_work(), {})
    talk.feed(1, b'{"type":"ready"}\n')
    said = json.loads(talk.inputs[0].data)["message"]
    assert said.startswith("Task: count\nYour item: a.txt\nFolder: /w\nYou can write only in: /w\n")


def test_what_is_missing_is_named_with_the_way_to_get_it(programs: Programs, tmp_path: Path) -> None:
    assert OpenClawDriver(programs).check(None, str(tmp_path)) == ([], str(tmp_path))
    with pytest.raises(errors.InvalidParams, match="takes no argv"):
        OpenClawDriver(programs).check(["true"], str(tmp_path))
    (tmp_path / "openclaw.mjs").unlink()
    with pytest.raises(errors.Unsupported, match="driver openclaw needs openclaw") as refused:
        OpenClawDriver(programs).check(None, str(tmp_path))
    assert "dashctl program install openclaw" in refused.value.hint


def test_the_words_of_a_refusal_are_the_proxys() -> None:
    chat, messages = REFUSED
    assert f"400 {refusals.NEUTRAL}".startswith(chat)
    said = {"error": {"message": refusals.NEUTRAL, "type": "invalid_request_error"}, "type": "error"}
    assert f"400: {json.dumps(said, separators=(',', ':'))}".startswith(messages)


@pytest.mark.parametrize(
    ("cores", "gib", "count"), [(2, 24, 16), (2, 8, 6), (16, 24, 22), (1, 2, 1), (64, 1, 1), (4, 512, 32)]
)
def test_how_many_by_cores_and_memory(cores: int, gib: int, count: int) -> None:
    assert FOOTPRINT.at_once(cores, gib * GIB) == count
