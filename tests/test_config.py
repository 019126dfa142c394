"""Settings: which source wins, where each came from, and what is refused."""

from pathlib import Path

import pytest

from dashd import config
from dashd.wire import paths


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A home without a file."""
    return {"HOME": str(tmp_path / "home")}


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _user_file(environ: dict[str, str], text: str) -> Path:
    return _write(Path(environ["HOME"], ".config/dash/config.toml"), text)


def test_defaults(environ: dict[str, str]) -> None:
    found = config.load(environ, {})
    daemon = found.daemon
    assert (daemon.agents_max, daemon.log_level, daemon.shutdown_grace_s) == (100, "info", 5.0)
    assert str(daemon.state_dir) == paths.state_dir(environ)
    assert str(daemon.socket) == paths.socket_path(environ)
    assert daemon.database == daemon.state_dir / "dash.db"
    assert found.origins == {}
    assert {origin for _, _, origin in config.show(found)} == {"default"}


def test_flag_over_environment_over_project_over_user_over_default(
    environ: dict[str, str], tmp_path: Path
) -> None:
    user = _user_file(environ, "[daemon]\nagents_max = 1\nlog_level = 'error'\nshutdown_grace_s = 1\n")
    project = _write(tmp_path / ".dash.toml", "[daemon]\nagents_max = 2\nlog_level = 'debug'\n")
    environ["DASH_DAEMON_AGENTS_MAX"] = "3"
    flags = {"daemon.socket": "/x.sock", "daemon.state_dir": None}
    found = config.load(environ, flags, project=project)
    assert (found.daemon.agents_max, found.daemon.log_level, found.daemon.shutdown_grace_s) == (3, "debug", 1)
    assert found.origins == {
        "daemon.agents_max": "environment",
        "daemon.log_level": f"project file {project}",
        "daemon.shutdown_grace_s": f"user file {user}",
        "daemon.socket": "flag",
    }
    shown = {key: (value, origin) for key, value, origin in config.show(found)}
    assert shown["daemon.agents_max"] == ("3", "environment")
    assert shown["daemon.database"][1] == "default"
    assert set(shown) == set(config.keys())


def test_the_user_file_is_where_xdg_says(environ: dict[str, str], tmp_path: Path) -> None:
    _user_file(environ, "[daemon]\nagents_max = 1\n")
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert config.load(environ, {}).daemon.agents_max == 100
    _write(tmp_path / "xdg/dash/config.toml", "[daemon]\nagents_max = 7\n")
    assert config.load(environ, {}).daemon.agents_max == 7


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("DASH_STATE_DIR", "state_dir", "/s"),
        ("DASH_SOCKET", "socket", "/q.sock"),
        ("DASH_DB_PATH", "database", "/d.db"),
        ("DASH_LOG_LEVEL", "log_level", "debug"),
        ("DASH_MAX_AGENTS", "agents_max", "7"),
        ("DASH_DAEMON_SHUTDOWN_GRACE_S", "shutdown_grace_s", "2.0"),
        ("DASH_DAEMON_OUTPUT_KEPT_DAYS", "output_kept_days", "0.5"),
        ("DASH_DAEMON_CHECKPOINTS_KEPT_DAYS", "checkpoints_kept_days", "1.0"),
        ("DASH_DAEMON_CHECKPOINTS_TOTAL_MIB", "checkpoints_total_mib", "2"),
    ],
)
def test_names_in_the_environment(environ: dict[str, str], name: str, key: str, value: str) -> None:
    found = config.load({**environ, name: value}, {})
    assert str(getattr(found.daemon, key)) == value
    assert found.origins == {f"daemon.{key}": "environment"}


def test_an_alias_gives_way_to_the_full_name_and_nothing_is_no_value(environ: dict[str, str]) -> None:
    both = {"DASH_MAX_AGENTS": "7", "DASH_DAEMON_AGENTS_MAX": "8", "DASH_LOG_LEVEL": ""}
    found = config.load({**environ, **both}, {})
    assert (found.daemon.agents_max, found.daemon.log_level) == (8, "info")


def test_every_alias_names_a_setting() -> None:
    assert set(config.ALIASES.values()) <= set(config.keys())


def test_a_chosen_state_folder_takes_socket_and_database_along(environ: dict[str, str]) -> None:
    around = {**environ, "XDG_RUNTIME_DIR": "/run/user/0"}
    assert str(config.load(around, {}).daemon.socket) == "/run/user/0/dash/dashd.sock"
    for found in (
        config.load({**around, "DASH_STATE_DIR": "/s"}, {}),
        config.load(around, {"daemon.state_dir": "/s"}),
    ):
        assert str(found.daemon.socket) == "/s/run/dashd.sock"
        assert str(found.daemon.database) == "/s/dash.db"


def test_paths_do_not_depend_on_where_the_daemon_was_started(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    found = config.load({**environ, "DASH_DB_PATH": "x/../my.db", "DASH_STATE_DIR": "~/s"}, {})
    assert found.daemon.database == tmp_path / "my.db"
    assert str(found.daemon.state_dir) == "/h/s"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (
            "[daemon]\nagent_max = 5\n",
            "unknown setting 'daemon.agent_max'",
            "did you mean daemon.agents_max?",
        ),
        ("[daemon]\nxyzzy = 5\n", "unknown setting 'daemon.xyzzy'", "known keys: daemon.state_dir"),
        ("[proxi]\nport = 5\n", "unknown setting 'proxi.port'", "did you mean proxy.port?"),
        ("[proxy]\nuseful_tokens = 5\n", "'proxy.useful_tokens'", "did you mean proxy.useful_output_tokens?"),
        ("[proxy]\nlog_level = 'info'\n", "'proxy.log_level'", "did you mean daemon.log_level?"),
        ("[xyz]\nagents_max = 5\n", "'xyz.agents_max'", "did you mean daemon.agents_max?"),
        ("[daemon]\nstate_dir = '/s'\n", "daemon.state_dir cannot be set in a file", "set DASH_STATE_DIR"),
        ("[daemon]\nsocket = '/q'\n", "daemon.socket cannot be set in a file", "set DASH_SOCKET"),
        ("agents_max = 5\n", "unknown setting 'agents_max'", "agents_max"),
        ("[daemon\n", "reading ", "mend the file"),
    ],
)
def test_a_file_with_a_mistake_is_refused(environ: dict[str, str], text: str, says: str, hint: str) -> None:
    path = _user_file(environ, text)
    with pytest.raises(config.BadConfig) as caught:
        config.load(environ, {})
    assert says in caught.value.message
    assert str(path) in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 78


def test_a_file_that_is_no_text_is_refused(environ: dict[str, str]) -> None:
    _user_file(environ, "").write_bytes(b"\xff\xfe")
    with pytest.raises(config.BadConfig, match="reading "):
        config.load(environ, {})


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("DASH_MAX_AGENTS", "many", "daemon.agents_max"),
        ("DASH_MAX_AGENTS", "0", "daemon.agents_max"),
        ("DASH_MAX_AGENTS", "1001", "daemon.agents_max"),
        ("DASH_LOG_LEVEL", "loud", "daemon.log_level"),
        ("DASH_DAEMON_SHUTDOWN_GRACE_S", "-1", "daemon.shutdown_grace_s"),
        ("DASH_DAEMON_SHUTDOWN_GRACE_S", "nan", "daemon.shutdown_grace_s"),
        ("DASH_PROXY_USEFUL_OUTPUT_TOKENS", "0", "proxy.useful_output_tokens"),
    ],
)
def test_a_wrong_value_is_named_with_its_origin(
    environ: dict[str, str], name: str, value: str, key: str
) -> None:
    with pytest.raises(config.BadConfig) as caught:
        config.load({**environ, name: value}, {})
    assert caught.value.path == key
    assert f"{key} = {value!r} (environment): " in caught.value.message


def test_what_is_not_used_yet_is_answered(environ: dict[str, str]) -> None:
    found = config.load({**environ, "DASH_REDIS_URL": "x", "DASH_DATABASE_URL": "secret"}, {})
    assert found.warnings == ("DASH_DATABASE_URL is not used", "DASH_REDIS_URL is not used")


def test_every_alias_that_is_to_come_is_answered(environ: dict[str, str]) -> None:
    assert config.NOT_USED.isdisjoint(config.ALIASES)
    found = config.load({**environ, **dict.fromkeys(config.NOT_USED, "x")}, {})
    told = [warning.partition(":")[0] for warning in found.warnings]
    assert told == [f"{name} is not used" for name in sorted(config.NOT_USED)]
    assert {"DASH_PORT", "DASH_JWT_SECRET", "OPENCLAW_API_KEY"} <= config.NOT_USED


def test_openclaw_is_named_in_the_environment_and_gateways_are_added(environ: dict[str, str]) -> None:
    named = {"DASH_OPENCLAW_COMMAND": "/opt/openclaw", "OPENCLAW_GATEWAY_URL": "ws://127.0.0.1:1"}
    found = config.load({**environ, **named}, {})
    assert str(found.programs.openclaw) == "/opt/openclaw"
    (warning,) = found.warnings
    assert "dashctl gateway add" in warning


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DASH_DAEMON_AGENT_MAX", "did you mean DASH_DAEMON_AGENTS_MAX?"),
        ("DASH_DAEMON_FOO", "known names: DASH_DAEMON_STATE_DIR, "),
        ("DASH_PROXY_USEFUL_TOKENS", "did you mean DASH_PROXY_USEFUL_OUTPUT_TOKENS?"),
        ("DASH_PROXY_LOG_LEVEL", "did you mean DASH_DAEMON_LOG_LEVEL?"),
    ],
)
def test_a_name_of_ours_that_is_none_is_refused(environ: dict[str, str], name: str, hint: str) -> None:
    with pytest.raises(config.BadConfig, match=f"unknown setting {name} .environment.") as caught:
        config.load({**environ, name: "1"}, {})
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == 78


def test_every_setting_of_every_section_has_a_name_in_the_environment(environ: dict[str, str]) -> None:
    assert set(config.SECTIONS) <= set(config.Config.__struct_fields__)
    shown = config.show(config.load(environ, {}))
    assert {key.partition(".")[0] for key, _, _ in shown} == set(config.SECTIONS)
    for key, value, _ in shown:
        name = "DASH_" + key.replace(".", "_").upper()
        assert config.load({**environ, name: value}, {}).origins == ({key: "environment"} if value else {})


def test_a_section_of_its_own(environ: dict[str, str]) -> None:
    path = _user_file(environ, "[proxy]\nuseful_output_tokens = 64\n[daemon]\nagents_max = 3\n")
    found = config.load(environ, {})
    assert (found.proxy.useful_output_tokens, found.daemon.agents_max) == (64, 3)
    shown = {key: (value, origin) for key, value, origin in config.show(found)}
    assert shown["proxy.useful_output_tokens"] == ("64", f"user file {path}")


def test_other_names_are_not_ours_to_refuse(environ: dict[str, str]) -> None:
    assert config.load({**environ, "DASH_AGENT": "a", "DASH_ICONS": "1"}, {}).warnings == ()


def test_it_cannot_be_changed_afterwards(environ: dict[str, str]) -> None:
    found = config.load(environ, {})
    with pytest.raises(AttributeError, match="immutable"):
        found.daemon.agents_max = 5  # type: ignore[misc]
