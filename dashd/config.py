"""Settings: defaults, files, environment and flags become one frozen Config, and each value knows its origin.

    flag > environment > project file (.dash.toml) > user file (~/.config/dash/config.toml) > default

Every setting is also `DASH_<SECTION>_<NAME>`; some have an older, shorter name. An unknown key is an error
that names the nearest one. No secret lives here.

The settings are a msgspec struct, not a pydantic model: that alone is a quarter of an idle daemon's memory.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dashd.wire import errors, paths

ALIASES = {
    "DASH_STATE_DIR": "daemon.state_dir",
    "DASH_SOCKET": "daemon.socket",
    "DASH_DB_PATH": "daemon.database",
    "DASH_LOG_LEVEL": "daemon.log_level",
    "DASH_MAX_AGENTS": "daemon.agents_max",
    "DASH_RUN_AS": "daemon.run_as",
    "DASH_OPENCLAW_COMMAND": "programs.openclaw",
    "DASH_OPENCLAW_MAX_SESSIONS": "programs.openclaw_sessions_max",
    "DASH_OPENCLAW_DAEMON_ENABLED": "programs.openclaw_autostart",
}
"""Older and shorter names of settings in the environment."""
NOT_USED = {
    *(
        "DASH_DATABASE_URL",
        "DASH_REDIS_URL",
        "DASH_HOST",
        "DASH_PORT",
        "DASH_RATE_LIMIT",
        "DASH_WS_HEARTBEAT",
    ),
    *("OPENCLAW_GATEWAY_URL", "OPENCLAW_API_KEY"),
    *("DASH_JWT_SECRET", "DASH_JWT_ISSUER", "DASH_JWT_AUDIENCE"),
    *("DASH_METRICS_ENABLED", "DASH_TRACING_ENABLED"),
}
"""Answered with a warning until they mean something."""
GATEWAYS = (
    "gateways that are there are added by hand, without walls:"
    " dashctl gateway add NAME --url ws://127.0.0.1:PORT --unsafe-no-jail < TOKENFILE"
)
INSTEAD = {"OPENCLAW_GATEWAY_URL": GATEWAYS, "OPENCLAW_API_KEY": GATEWAYS}
"""What to do where one of them was set."""


Rate = Annotated[int, Meta(ge=0, le=10**12)]


class BadConfig(errors.DashError):
    """The configuration is not valid."""

    category, code, exit_code = "validation_error", errors.InvalidParams.code, 78


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Section `daemon`."""

    state_dir: Path
    """Database, launches and logs."""
    socket: Path
    """Where clients connect."""
    database: Path
    """The SQLite file."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    agents_max: Annotated[int, Meta(ge=1, le=1_000)] = 100
    """Agents that may work at once, over all swarms."""
    shutdown_grace_s: Annotated[float, Meta(ge=0, le=300)] = 5.0
    """What calls in flight get when dashd ends."""
    run_as: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    """The uid that dashd goes on as where root starts it; it never runs as root."""
    output_kept_days: Annotated[float, Meta(ge=0, le=36_500)] = 7.0
    """How long what agents printed is kept after their swarm has ended; results are kept for good."""
    checkpoints_kept_days: Annotated[float, Meta(ge=0, le=36_500)] = 30.0
    """How long a session's automatic checkpoint is kept; those that somebody asked for are kept for good."""
    checkpoints_total_mib: Annotated[int, Meta(ge=1, le=1_048_576)] = 1_024
    """Of all checkpoints together; the oldest go first that nobody asked for, then new ones are refused."""


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Section `proxy`."""

    useful_output_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    """A model call with room for fewer output tokens than this is refused."""
    requests_per_minute: Rate = 0
    """Of each agent; a faster one is slowed down. 0 is no limit, here and below."""
    tokens_per_minute: Rate = 0
    requests_per_day: Rate = 0
    tokens_per_day: Rate = 0
    port: Annotated[int, Meta(ge=0, le=65_535)] = 7_374
    """Of the door for programs outside, on 127.0.0.1; it opens with the first key. 0 is any free one."""
    key_requests_per_minute: Rate = 0
    """Of each key that has no limits of its own; one that is faster is refused."""
    key_tokens_per_minute: Rate = 0
    key_requests_per_day: Rate = 0
    key_tokens_per_day: Rate = 0
    bodies: Literal["off", "meta", "full"] = "off"
    """What is kept of each model call: nothing, sizes and names, or the redacted texts as well."""
    bodies_kept_days: Annotated[float, Meta(ge=0, le=36_500)] = 7.0
    bodies_bytes_max: Annotated[int, Meta(ge=256, le=4_194_304)] = 65_536
    """Of one text; the rest is cut off."""
    bodies_total_mib: Annotated[int, Meta(ge=1, le=1_048_576)] = 256
    """Of all that are kept; the oldest go first."""


class JailConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Section `jail`."""

    grade_min: Literal["A", "B", "C", "0"] = "B"
    """The weakest walls agents start behind: B bubblewrap, Landlock and seccomp; C without bubblewrap."""
    required: bool = True
    """false: agents have all rights of their user, as with --unsafe-no-jail for each swarm."""


class WorkspaceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Section `workspace`."""

    cleanup_after_h: Annotated[float, Meta(ge=0, le=87_600)] = 24.0
    """With cleanup `delayed`: how long workspaces stay after their swarm's end."""


class ProgramsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Section `programs`: agent programs that are on the machine already, by path or by a name on PATH."""

    node: str = ""
    pi: str = ""
    """Its `cli.js`."""
    openclaw: str = ""
    """Its `openclaw.mjs`."""
    openclaw_sessions_max: Annotated[int, Meta(ge=0, le=1_000)] = 0
    """OpenClaw agents that may run at once; 0 is what the machine's cores and memory allow."""
    pi_instances_min: Annotated[int, Meta(ge=1, le=1_000)] = 1
    """Places of this machine's own where Pis run, at the least; see instance_seats.py."""
    pi_instances_max: Annotated[int, Meta(ge=0, le=1_000)] = 0
    """At the most, within what the machine's cores and memory allow; 0: they are not divided into places."""
    pi_instance_seats: Annotated[int, Meta(ge=1, le=1_000)] = 8
    """Pis that run at once in each of them."""
    pi_idle_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    """Such a place without work for longer is ended."""
    openclaw_autostart: bool = True
    """Gateways of Dash's own are started for the swarms that want one; otherwise their tasks wait."""


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "daemon": DaemonConfig,
    "proxy": ProxyConfig,
    "jail": JailConfig,
    "workspace": WorkspaceConfig,
    "programs": ProgramsConfig,
}
"""To add one: its struct here, a field of its name in Config, its settings in README.md."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings; `origins` names where each that is not a default came from."""

    daemon: DaemonConfig
    proxy: ProxyConfig = ProxyConfig()
    jail: JailConfig = JailConfig()
    workspace: WorkspaceConfig = WorkspaceConfig()
    programs: ProgramsConfig = ProgramsConfig()
    origins: dict[str, str]
    warnings: tuple[str, ...]


def load(environ: Mapping[str, str], flags: Mapping[str, Any], *, project: Path | None = None) -> Config:
    """The configuration in force; `flags` are by dotted key. Raises BadConfig with path, value and remedy."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, found in (
        *_files(environ, project),
        ("environment", _from_environ(environ)),
        ("flag", {key: value for key, value in flags.items() if value is not None}),
    ):
        for key, value in found.items():
            _refuse_unknown(key, origin)
            _refuse_hidden_place(key, origin)
            values[key] = value
            origins[key] = origin
    _derive(values, environ)
    sections: dict[str, Any] = {name: _section(name, values, origins) for name in SECTIONS}
    return Config(**sections, origins=origins, warnings=_unused(environ))


def keys() -> list[str]:
    """Every setting by its dotted key."""
    return [f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.__struct_fields__]


def show(config: Config) -> list[tuple[str, str, str]]:
    """(key, value, origin) of every setting."""
    return [(key, _text(_value(config, key)), config.origins.get(key, "default")) for key in keys()]


def _section(name: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> msgspec.Struct:
    """The settings of one section; raises BadConfig for the first value that is none."""
    told = {
        key.partition(".")[2]: _plain(value) for key, value in values.items() if key.partition(".")[0] == name
    }
    try:
        return msgspec.convert(told, SECTIONS[name], strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise _refused(str(error), name, told, origins) from None


def _value(config: Config, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


def _text(value: object) -> str:
    """As a person writes it; a setting that is not set is empty."""
    return "" if value is None else str(value)


def _derive(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Paths that follow from others; the same rules as every client's (`wire.paths`)."""
    told = {"DASH_STATE_DIR": values.get("daemon.state_dir"), "DASH_SOCKET": values.get("daemon.socket")}
    around = {**environ, **{name: str(value) for name, value in told.items() if value}}
    state_dir = paths.state_dir(around)
    values["daemon.state_dir"] = state_dir
    values["daemon.socket"] = paths.socket_path(around)
    database = values.get("daemon.database") or os.path.join(state_dir, "dash.db")
    values["daemon.database"] = os.path.abspath(os.path.expanduser(str(database)))


def _files(environ: Mapping[str, str], project: Path | None) -> list[tuple[str, dict[str, Any]]]:
    home = environ.get("HOME") or os.path.expanduser("~")
    user = Path(environ.get("XDG_CONFIG_HOME") or Path(home, ".config"), "dash", "config.toml")
    named = [("user file", user)] + ([("project file", project)] if project else [])
    return [(f"{origin} {path}", _from_file(path)) for origin, path in named if os.path.isfile(path)]


def _from_file(path: Path) -> dict[str, Any]:
    import tomllib  # most have no such file

    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfig(
            f"reading {path}: {error}", hint="mend the file, or move it away", path=str(path)
        ) from None
    return {
        f"{section}.{name}": value
        for section, names in tree.items()
        for name, value in (names.items() if isinstance(names, dict) else [("", names)])
    }


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    full = {"DASH_" + key.replace(".", "_").upper(): key for key in keys()}
    named = {**ALIASES, **full}
    prefixes = tuple(f"DASH_{section.upper()}_" for section in SECTIONS)
    for name in environ:
        # Other DASH_ names may be somebody else's; those of a section can only be meant for it.
        if name.startswith(prefixes) and name not in named and name not in NOT_USED:
            near = _nearest(name.removeprefix("DASH_"), {each.removeprefix("DASH_"): each for each in full})
            hint = f"did you mean {near}?" if near else f"known names: {', '.join(full)}"
            raise BadConfig(f"unknown setting {name} (environment)", hint=hint, path=name)
    return {key: environ[name] for name, key in named.items() if environ.get(name)}


def _path(_kind: type, value: object) -> Path:
    return Path(str(value))


def _plain(value: object) -> object:
    """TOML knows more types than settings have; what is none of theirs is refused as its text."""
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _refused(reason: str, section: str, told: Mapping[str, Any], origins: Mapping[str, str]) -> BadConfig:
    text, _, path = reason.partition(" - at `$.")
    name = path.rstrip("`")
    key = f"{section}.{name}"
    return BadConfig(
        f"{key} = {told.get(name)!r} ({origins.get(key, 'default')}): {text[:1].lower()}{text[1:]}",
        hint="dashd config shows every setting with its origin",
        path=key,
    )


def _nearest(told: str, known: Mapping[str, str]) -> str:
    """The setting that was meant: of its section, else one of that name elsewhere; "" for none."""
    import difflib  # only who is mistaken waits for it

    section, name = _split(told.rstrip("._"))
    here = {each: _split(each)[1] for each in known if _split(each)[0] == section}
    anywhere = {each: _split(each)[1] for each in known}
    for found, cutoff in ((here, 0.6), (anywhere, 0.8)):
        if near := difflib.get_close_matches(name, found.values(), 1, cutoff):
            return known[next(each for each, short in found.items() if short == near[0])]
    return ""


def _split(key: str) -> tuple[str, str]:
    """`daemon.log_level`, or `DAEMON_LOG_LEVEL`, as section and name; without a section it is a name."""
    section, *name = re.split(r"[._]", key, maxsplit=1)
    return (section, name[0]) if name and section.lower() in SECTIONS else ("", key.rpartition(".")[2])


def _refuse_unknown(key: str, origin: str) -> None:
    if key not in keys():
        near = _nearest(key, {each: each for each in keys()})
        hint = f"did you mean {near}?" if near else f"known keys: {', '.join(keys())}"
        raise BadConfig(f"unknown setting {key.rstrip('.')!r} ({origin})", hint=hint, path=key)


def _refuse_hidden_place(key: str, origin: str) -> None:
    """Clients look at environment and flags alone; a file must not move the daemon out of their sight."""
    if key in ("daemon.state_dir", "daemon.socket") and "file" in origin:
        name = "DASH_STATE_DIR" if key == "daemon.state_dir" else "DASH_SOCKET"
        hint = f"set {name} for dashd and its clients"
        raise BadConfig(f"{key} cannot be set in a file ({origin})", hint=hint, path=key)


def _unused(environ: Mapping[str, str]) -> tuple[str, ...]:
    set_ = [name for name in sorted(NOT_USED) if environ.get(name)]
    return tuple(
        f"{name} is not used: {INSTEAD[name]}" if name in INSTEAD else f"{name} is not used" for name in set_
    )
