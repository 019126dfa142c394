"""`dashctl key …` against a scripted dashd."""

import json

import msgspec
import pytest

from dashctl import commands
from dashctl.commands.key import EXPIRES_S_MAX, GRACE_S_MAX
from dashd.wire.methods import key

URL = "http://127.0.0.1:7374/v1"


def a_key(**changes):
    fields = {
        "id": "key-7k2m9q",
        "name": "editor",
        "kind": "proxy",
        "state": "good",
        "budget": "project",
        "limit_usd": 5.0,
        "spent_usd": 0.25,
        "model": None,
        "created_at": "2026-11-20T10:00:00.000Z",
        **dict.fromkeys(("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day")),
        "expires_at": None,
        "last_used_at": None,
    }
    return key.KeyInfo(**(fields | changes))


def a_secret(**changes):
    told = {"key": a_key(), "secret": "dk_live_x", "url": URL, "url_anthropic": URL.removesuffix("/v1")}
    return key.KeySecret(**(told | changes))


def test_create_shows_the_secret_and_where_it_is_used(dashd, ctl):
    dashd.on("key.create", a_secret())
    ran = ctl("key", "create", "editor", "--limit", "5", "--expires", "30d", "--requests-per-minute", "0")
    assert "  dk_live_x\n" in ran.out
    assert f"OPENAI_BASE_URL={URL}\n" in ran.out
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:7374\n" in ran.out
    assert dashd.asked("key.create") == [
        {"name": "editor", "limit_usd": 5.0, "expires_in_s": 2_592_000, "requests_per_minute": 0}
    ]
    assert json.loads(ctl("key", "create", "editor", "--json").out)["secret"] == "dk_live_x"


def test_a_key_that_speaks_is_shown_by_dash_key(dashd, ctl):
    dashd.on("key.create", a_secret(key=a_key(kind="orchestrator", budget=""), url="", url_anthropic=""))
    ran = ctl("key", "create", "claude", "--kind", "orchestrator")
    assert "orchestrator:editor: DASH_KEY=" in ran.out
    assert "BASE_URL" not in ran.out
    assert dashd.asked("key.create") == [{"name": "claude", "kind": "orchestrator"}]
    dashd.on("key.list", key.KeyList(keys=[a_key(kind="operator")]))
    assert "no port is open" in ctl("key", "list").out


def test_a_shut_door_is_said(dashd, ctl):
    dashd.on("key.create", a_secret(url="", problem="127.0.0.1:7374 cannot be had"))
    ran = ctl("key", "create", "editor")
    assert "The door is shut: 127.0.0.1:7374 cannot be had" in ran.out
    assert "OPENAI_BASE_URL" not in ran.out


def test_list(dashd, ctl):
    dashd.on("key.list", key.KeyList())
    assert "no port is open" in ctl("key", "list").out
    dashd.on("key.list", key.KeyList(keys=[a_key(name="\x1b[31mred"), a_key(state="revoked")], url=URL))
    ran = ctl("key", "list", "--all")
    assert "key-7k2m9q" in ran.out
    assert "revoked" in ran.out
    assert "\x1b" not in ran.out
    assert URL in ran.out
    assert dashd.asked("key.list") == [{}, {"all": True}]
    assert json.loads(ctl("key", "list", "--json").out)["url"] == URL


def test_rotate(dashd, ctl):
    dashd.on("key.rotate", a_secret(secret="dk_live_y"))
    assert "dk_live_y" in ctl("key", "rotate", "editor", "--grace", "1h").out
    assert dashd.asked("key.rotate") == [{"key": "editor", "grace_s": 3_600}]


@pytest.mark.parametrize("typed", ["0", "0s", "400ms", "1.5s", "-1s", "4000d", "nan", "x"])
def test_a_key_that_is_good_for_no_time_or_for_ever_is_refused_before_dashd_is_asked(dashd, ctl, typed):
    ran = ctl("key", "create", "editor", f"--expires={typed}")
    assert ran.code == 2
    assert f"--expires: '{typed}'" in ran.err
    assert "write" in ran.err
    assert dashd.asked("key.create") == []


def test_a_grace_that_would_be_rounded_to_none_is_refused(dashd, ctl):
    assert "whole seconds" in ctl("key", "rotate", "editor", "--grace", "400ms").err
    dashd.on("key.rotate", a_secret())
    ctl("key", "rotate", "editor", "--grace", "0")
    assert dashd.asked("key.rotate") == [{"key": "editor", "grace_s": 0}]


def test_the_bounds_are_those_of_the_wire():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a", "expires_in_s": EXPIRES_S_MAX + 1}, key.CreateKey)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"key": "a", "grace_s": GRACE_S_MAX + 1}, key.RotateKey)
    msgspec.convert({"name": "a", "expires_in_s": EXPIRES_S_MAX}, key.CreateKey)
    msgspec.convert({"key": "a", "grace_s": GRACE_S_MAX}, key.RotateKey)


def test_revoke(dashd, ctl):
    dashd.on("key.revoke", key.KeyChanged(id="key-7k2m9q", changed=True))
    assert ctl("key", "revoke", "editor").out == "Key key-7k2m9q opens nothing any more\n"
    dashd.on("key.revoke", key.KeyChanged(id="key-7k2m9q", changed=False))
    assert ctl("key", "revoke", "editor").out == "Key key-7k2m9q was revoked before\n"


def test_every_command_of_the_module_is_tried_here():
    assert set(commands.of_module("key")) == {"create", "list", "rotate", "revoke"}


def test_an_orchestrator_s_key_may_be_bounded(dashd, ctl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dashd.on("key.create", a_secret(key=a_key(kind="orchestrator", budget=""), url="", url_anthropic=""))
    ctl("key", "create", "claude", "--kind", "orchestrator", "--within", "src", "--within", "/usr/share")
    ctl("key", "create", "bold", "--kind", "orchestrator", "--unsafe-no-jail")
    assert dashd.asked("key.create") == [
        {"name": "claude", "kind": "orchestrator", "within": [f"{tmp_path}/src", "/usr/share"]},
        {"name": "bold", "kind": "orchestrator", "unsafe_no_jail": True},
    ]
