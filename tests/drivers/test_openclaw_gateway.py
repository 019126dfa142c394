"""How a gateway is started, and what it is told of its agents."""

import json
from pathlib import Path

import pytest

from dashd.drivers import openclaw_gateway as gateway
from dashd.drivers.openclaw_gateway import Seat
from dashd.drivers.programs import Programs
from dashd.jail import view

SEATS = [
    Seat("7k2m9q-001", "http://127.0.0.1:8787/v1", "dk_a", "m", "/w"),
    Seat("7k2m9q-003.1", "http://127.0.0.1:8787/v1", "dk_b", "m", "/w"),
]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    for name in ("node", "openclaw.mjs"):
        (tmp_path / name).write_text("")
    return Programs(None, {"node": str(tmp_path / "node"), "openclaw": str(tmp_path / "openclaw.mjs")})


def test_each_agent_has_a_provider_and_a_key_of_its_own() -> None:
    told = gateway.config(SEATS, "t" * 64)
    providers, entries = told["models"]["providers"], told["agents"]["entries"]
    assert list(entries) == ["7k2m9q-001", "7k2m9q-003_1"]
    assert [each["apiKey"] for each in providers.values()] == ["dk_a", "dk_b"]
    assert [each["model"]["primary"] for each in entries.values()] == [f"{name}/m" for name in providers]
    assert told["gateway"]["auth"] == {"mode": "token", "token": "t" * 64}
    assert (told["gateway"]["bind"], told["gateway"]["port"]) == ("loopback", gateway.PORT)


def test_a_change_names_what_is_new_alone() -> None:
    change = gateway.change(SEATS[1:])
    assert list(change) == ["models", "agents"]
    assert list(change["agents"]["entries"]) == ["7k2m9q-003_1"]


def test_a_session_is_one_attempts() -> None:
    assert gateway.session_key("7k2m9q-001", "7k2m9q-t1.2") == "agent:7k2m9q-001:7k2m9q-t1_2"
    assert gateway.session_key("7k2m9q-001", "7k2m9q-t1.1") != gateway.session_key(
        "7k2m9q-001", "7k2m9q-t1.2"
    )


def test_secrets_are_in_no_argument_and_in_no_environment(programs: Programs, tmp_path: Path) -> None:
    command = gateway.command(programs, "/w", {"PATH": "/usr/bin", "ANTHROPIC_API_KEY": "canary"})
    assert command.argv[1:] == ("-I", "-S", f"{view.CODE}/dashd/drivers/{gateway.STARTER.name}")
    assert gateway.STARTER.is_file()
    assert (command.stdin, command.programs) == (True, (str(tmp_path),))
    assert "canary" not in str(command.env)
    told = json.loads(gateway.told(programs, SEATS, "canary"))
    assert "canary" not in str(told["argv"]) + str(told["env"])
    assert told["argv"][:4] == [str(tmp_path / "node"), str(tmp_path / "openclaw.mjs"), "gateway", "run"]


def test_a_program_that_has_gone_never_becomes_another_one() -> None:
    told = json.loads(gateway.told(Programs(), SEATS, "t"))
    assert told["argv"][0].startswith("/nonexistent/")
