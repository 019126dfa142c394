"""How a gateway is started, and what it is told of its agents."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.drivers import openclaw_gateway as gateway
from dashd.drivers.openclaw_gateway import Seat
from dashd.drivers.programs import ProgramGone, Programs
from dashd.jail import view
from tests.fakes.openclaw_gateway import merge

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


def test_an_agent_is_called_for_in_the_format_of_its_model() -> None:
    seats = [SEATS[0], dataclasses.replace(SEATS[1], format="anthropic")]
    apis = [each["api"] for each in gateway.entries(seats)[0].values()]
    assert apis == ["openai-completions", "anthropic-messages"]


def test_a_change_names_what_is_new_alone() -> None:
    change = gateway.change(SEATS[1:])
    assert list(change) == ["models", "agents"]
    assert list(change["agents"]["entries"]) == ["7k2m9q-003_1"]


def test_a_session_is_that_of_the_launch_that_began_it() -> None:
    assert gateway.session_key("7k2m9q-001", "7k2m9q-t1.2") == "agent:7k2m9q-001:7k2m9q-t1_2"
    assert gateway.session_key("7k2m9q-001", "7k2m9q-t1.1") != gateway.session_key(
        "7k2m9q-001", "7k2m9q-t1.2"
    )


def test_secrets_are_in_no_argument_and_in_no_environment(programs: Programs, tmp_path: Path) -> None:
    command = gateway.command(programs, "/w", {"PATH": "/usr/bin", "ANTHROPIC_API_KEY": "canary"})
    assert command.argv[1:] == ("-I", "-S", f"{view.CODE}/dashd/drivers/{gateway.STARTER.name}")
    assert gateway.STARTER.is_file()
    assert (command.stdin, command.programs) == (True, (str(tmp_path),))
    assert command.reserved_bytes > 18 << 30, "what one with 20 agents was seen to have"
    assert "canary" not in str(command.env)
    told = json.loads(gateway.told(programs, SEATS, "canary", "/state"))
    assert "canary" not in str(told["argv"]) + str(told["env"])
    assert told["state"] == "/state"
    assert told["argv"][:4] == [str(tmp_path / "node"), str(tmp_path / "openclaw.mjs"), "gateway", "run"]


def test_a_program_that_has_gone_never_becomes_another_one() -> None:
    with pytest.raises(ProgramGone, match="openclaw is neither installed nor configured"):
        gateway.told(Programs(), SEATS, "t", "/state")


def test_names_of_one_start_are_not_those_of_the_next() -> None:
    first, second = gateway.tag_of("boot-1"), gateway.tag_of("boot-2")
    assert first != second
    name = gateway.agent_name("7k2m9q-003.1", first)
    assert name == f"7k2m9q-003_1-{first}"
    assert gateway.agent_id_of(name) == "7k2m9q-003.1"
    assert gateway.session_key("7k2m9q-003.1", "7k2m9q-t1.2", first) == f"agent:{name}:7k2m9q-t1_2"
    strangers = ("main", "7k2m9q-003", "7k2m9q-003-xyz", f"work-{first}", f"7k2m9q-3-{first}")
    for stranger in (*strangers, f"7k2m9q-003.1-{first}"):
        assert gateway.agent_id_of(stranger) is None


def test_guests_are_told_what_their_gateway_s_defaults_may_not_say() -> None:
    seat = dataclasses.replace(SEATS[0], tag="0a0b0c")
    told = gateway.guests([seat])["agents"]["entries"]["7k2m9q-001-0a0b0c"]
    assert (told["contextInjection"], told["skills"]) == ("never", [])
    assert "heartbeat" not in told  # else no other agent of that gateway had one


@given(st.lists(st.integers(50, 2_000), max_size=40), st.integers(0, 5_000))
def test_they_go_in_changes_none_of_which_takes_a_half(sizes: list[int], rest: int) -> None:
    names = [f"7k2m9q-{number:03d}-0a0b0c" for number, _ in enumerate(sizes)]
    there = {f"dash-{name}": size for name, size in zip(names, sizes, strict=True)}
    total, left = rest + sum(sizes), dict(there)
    small = set()
    for change, lists in gateway.farewells([*names, "not-there"], there | {"theirs": 1}, total):
        told = change["models"]["providers"]
        lists_go = [name for name, what in told.items() if what is None or "models" in what]
        assert lists == [f"models.providers.{name}.models" for name in lists_go]
        for name, what in told.items():
            if what is None:
                assert name in small or sum(left[each] for each in told) <= 0.4 * total
            else:
                small.add(name)
        gone = [name for name, what in told.items() if what is None]
        total -= sum(left.pop(name) for name in gone)
    assert left == {}


@pytest.mark.parametrize("count", range(1, 9))
def test_no_farewell_takes_half_of_a_small_configuration(count) -> None:
    key = "dk_" + "0" * 64
    seats = [Seat(f"7k2m9q-{n:03d}", "http://127.0.0.1:40173/v1", key, "m", "/w", "t") for n in range(count)]
    providers = gateway.guests(seats)["models"]["providers"]
    told = {
        "gateway": {"auth": {"token": "t" * 32}},
        "agents": {"entries": {}},
        "models": {"providers": providers},
    }
    seen = {
        name: len(json.dumps({name: each | {"apiKey": "***"}}, indent=2)) for name, each in providers.items()
    }
    size = len(json.dumps(told, indent=2)) - count * (len(key) - 3)
    names = [gateway.agent_name(seat.agent_id, "t") for seat in seats]
    for change, _ in gateway.farewells(names, seen, size):
        before = len(json.dumps(told, indent=2))
        merge(told, change)
        assert before < 512 or len(json.dumps(told, indent=2)) >= before // 2, change
    assert told["models"]["providers"] == {}
