"""How a task becomes Pi's command: absolute paths, an environment of its own, its listener alone."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from dashd.drivers import pi
from dashd.drivers.driver import ModelAccess, Session, Work
from dashd.drivers.pi import AGENT_FOLDER, GATE, PRELOAD, PiDriver
from dashd.drivers.programs import ProgramGone, Programs
from dashd.jail import view
from dashd.wire import errors

MODEL = ModelAccess("http://127.0.0.1:8787/v1", "dk_canary", "a -> b")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    for name in ("node", "cli.js"):
        (tmp_path / name).write_text("")
    return Programs(None, {"node": str(tmp_path / "node"), "pi": str(tmp_path / "cli.js")})


def _work(**more) -> Work:
    given = {
        "argv": (), "item": "a.txt", "task": "count", "cwd": "/w", "swarm_id": "s", "agent_id": "s-001",
        "task_id": "s-t1", "timeout_s": 300.0, "model": MODEL, "isolated": True, "write": ("/w",),
    }  # fmt: skip
    return Work(**(given | more))


def test_the_command(programs: Programs, tmp_path: Path) -> None:
    command = PiDriver(programs).command(_work(), {"PATH": "/usr/bin", "ANTHROPIC_API_KEY": "canary"})
    node, require, preload, pi, *flags = command.argv
    assert (node, require, pi) == (str(tmp_path / "node"), "--require", str(tmp_path / "cli.js"))
    assert preload == f"{view.CODE}/dashd/drivers/{PRELOAD.name}"
    assert {"--mode", "rpc", "--offline", "-ne", "-na", "--no-session"} <= set(flags)
    kept = PiDriver(programs).command(_work(session=Session("/l/session")), {}).argv
    assert kept[kept.index("--session-dir") + 1 :][:3] == ("/l/session", "--session-id", "dash")
    assert "--no-session" not in kept
    assert (command.stdin, command.cwd, command.programs) == (True, "/w", (str(tmp_path),))
    assert "canary" not in str(command.env.get("ANTHROPIC_API_KEY"))
    assert command.env["PI_CODING_AGENT_DIR"] == AGENT_FOLDER
    assert command.env["PI_OFFLINE"] == "1"
    assert "dk_canary" not in " ".join(command.argv)  # which every local user can read


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on PATH")
def test_what_is_not_done_yet_is_kept_in(tmp_path: Path) -> None:
    """As Pi writes: a line at a time, the next one when the one before is called back."""
    lines = [
        '{"type":"message_update","message":{"content":[]}}',
        '{"type":"tool_execution_update","partialResult":"x"}',
        '{"type":"message_end","message":{"content":"{\\"type\\":\\"message_update\\""}}',
        '{"id":"ready","type":"response","command":"message_update"}',
        '{"type":"tool_execution_end","toolCallId":"c"}',
        '{"type":"message_update_of_another_kind"}',
    ]
    (tmp_path / "says.cjs").write_text(
        "const write = process.stdout.write.bind(process.stdout);\n"
        "process.stdout.write = () => {};\n"  # as Pi takes it over
        "const say = ([line, ...rest]) => line && write(line + '\\n', () => say(rest));\n"
        f"say({json.dumps(lines)});"
    )
    argv = ["node", "--require", str(PRELOAD), str(tmp_path / "says.cjs")]
    env = {"PATH": os.environ["PATH"]}
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env=env)
    assert ran.stdout.splitlines() == lines[2:]


@pytest.mark.parametrize(
    ("form", "api", "address"),
    [
        ("openai-chat", "openai-completions", "http://127.0.0.1:8787/v1"),
        ("anthropic", "anthropic-messages", "http://127.0.0.1:8787"),
    ],
)
def test_it_is_told_the_format_of_its_model(programs: Programs, form, api: str, address: str) -> None:
    model = msgspec.structs.replace(MODEL, format=form)
    command = PiDriver(programs).command(_work(model=model), {})
    told = json.loads(command.env["DASH_PI_FILES"])["models.json"]["providers"]["dash"]
    assert (told["api"], told["baseUrl"]) == (api, address)
    assert form in PiDriver.formats


def test_a_place_may_have_a_pi_of_its_own(programs: Programs, tmp_path: Path) -> None:
    other = tmp_path / "next"
    other.mkdir()
    (other / "cli.js").write_text("")
    command = PiDriver(programs).command(_work(program=str(other / "cli.js")), {})
    assert command.argv[3] == str(other / "cli.js")
    assert command.programs == (str(tmp_path), str(other))
    (other / "cli.js").unlink()
    with pytest.raises(ProgramGone, match=r"next/cli\.js, which is no program"):
        PiDriver(programs).command(_work(program=str(other / "cli.js")), {})


@pytest.mark.parametrize(
    ("cores", "gib", "count"), [(2, 24, 100), (2, 4, 10), (64, 16, 74), (1, 1, 1), (1, 64, 50)]
)
def test_a_machine_has_room_for_so_many(cores: int, gib: int, count: int) -> None:
    assert pi.FOOTPRINT.at_once(cores, gib << 30) == count


def test_a_program_that_has_gone_is_not_replaced_by_another(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "node").unlink()
    with pytest.raises(ProgramGone, match=r"programs\.node is set to .*, which is no program") as gone:
        PiDriver(programs).command(_work(), {"PATH": "/usr/bin"})
    assert gone.value.ends == "never"


def test_its_files_name_the_listener_and_not_the_key(programs: Programs) -> None:
    command = PiDriver(programs).command(_work(), {})
    files = json.loads(command.env["DASH_PI_FILES"])
    (provider,) = files["models.json"]["providers"].values()
    assert (provider["baseUrl"], provider["apiKey"]) == (MODEL.url, "$DASH_MODEL_KEY")
    assert [model["id"] for model in provider["models"]] == ["a -> b"]
    settings = files["settings.json"]
    assert (settings["defaultProvider"], settings["defaultModel"]) == ("dash", "a -> b")
    assert settings["retry"] == {"enabled": False}
    assert "dk_canary" not in command.env["DASH_PI_FILES"]


def test_a_small_model_is_told_as_one(programs: Programs) -> None:
    model = msgspec.structs.replace(MODEL, context_tokens=20_000)
    files = json.loads(PiDriver(programs).command(_work(model=model), {}).env["DASH_PI_FILES"])
    (offered,) = files["models.json"]["providers"]["dash"]["models"]
    assert (offered["contextWindow"], offered["maxTokens"]) == (20_000, 5_000)


def test_it_asks_first_where_there_are_gates(programs: Programs) -> None:
    gated = PiDriver(programs).command(_work(asks=("tool",)), {}).argv
    assert gated[gated.index("-e") + 1] == f"{view.CODE}/dashd/drivers/{GATE.name}"
    assert gated[1] == "--disable-sigusr1"
    assert "--disable-sigusr1" not in PiDriver(programs).command(_work(), {}).argv
    assert "-e" not in PiDriver(programs).command(_work(), {}).argv
    assert GATE.is_file()


def test_without_a_jail_the_folder_is_the_programs_own(programs: Programs) -> None:
    command = PiDriver(programs).command(_work(isolated=False), {})
    assert "PI_CODING_AGENT_DIR" not in command.env
    assert str(PRELOAD) in command.argv
    assert PRELOAD.is_file()


def test_its_first_prompt_is_the_brief(programs: Programs) -> None:
    talk = PiDriver(programs).conversation(_work(), {})
    talk.feed(1, b'{"type":"response","id":"ready","success":true,"data":{"model":{"provider":"dash"}}}\n')
    said = json.loads(talk.inputs[1].data)["message"]
    assert said.startswith("Task: count\nYour item: a.txt\nFolder: /w\nYou can write only in: /w\n")


def test_what_is_missing_is_named_with_the_way_to_get_it(programs: Programs, tmp_path: Path) -> None:
    assert PiDriver(programs).check(None, str(tmp_path)) == ([], str(tmp_path))
    with pytest.raises(errors.InvalidParams, match="takes no argv"):
        PiDriver(programs).check(["true"], str(tmp_path))
    (tmp_path / "node").unlink()
    with pytest.raises(errors.Unsupported, match="driver pi needs node") as refused:
        PiDriver(programs).check(None, str(tmp_path))
    assert "dashctl program install node" in refused.value.hint
