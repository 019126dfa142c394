"""The allow-list: which fields of a body pass, which are refused by name and why, and what would pass
instead.

A field nobody listed is refused too: what Dash does not know it cannot price. Each format lists its own
fields; what several formats share (tools, images, service tiers) is here, so that it is decided once.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from dashd.proxy.formats import body as bodies
from dashd.proxy.formats.format import CallRefused

Check = Callable[[Any, str], None]
"""Takes a field's value and where it is; raises CallRefused."""

PLAIN_TOOLS = ("function", "custom")


class Refused(msgspec.Struct, frozen=True):
    """A field that never passes, with the reason and what would."""

    kind: str
    why: str
    instead: str

    def __call__(self, value: object, path: str) -> None:
        refuse(self.kind, self.why, self.instead, path)


def refuse(kind: str, why: str, instead: str, path: str) -> NoReturn:
    """Refuses the call."""
    raise CallRefused(kind, why, hint=instead, path=path)


def passes(value: object, path: str) -> None:
    """A field whose value costs no more than its bytes."""


def only(*allowed: object, kind: str, why: str, instead: str) -> Check:
    """A field that passes with these values alone."""

    def check(value: object, path: str) -> None:
        if not any(value == one and type(value) is type(one) for one in allowed):
            refuse(kind, why, instead, path)

    return check


def check_fields(given: Mapping[str, Any], rules: Mapping[str, Check], where: str = "") -> None:
    """Holds every field of an object to its rule; a null passes wherever its field does."""
    for name, value in given.items():
        path = f"{where}{name}"
        rule = rules.get(name)
        if rule is None:
            unknown(name, where)
        if value is not None:
            rule(value, path)


def unknown(name: str, where: str = "") -> NoReturn:
    """Refuses a field that is on no list."""
    refuse(
        "unknown_field",
        f"{bodies.shown(name)} is not a field that Dash knows, so what it costs cannot be bounded",
        "leave it out",
        where.rstrip("."),
    )


def unknown_part(kind: object, path: str) -> NoReturn:
    """Refuses a piece of content of a kind that is on no list."""
    refuse(
        "unknown_field",
        f"{bodies.shown(kind)} is not a kind of content that Dash knows, so what it costs cannot be bounded",
        "send text, or images inline",
        path,
    )


def check_tools(tools: object, path: str) -> None:
    """Tools must be plain ones that the caller runs itself; a provider's own cost extra, unseen."""
    for index, tool in enumerate(bodies.entries(tools, path)):
        at = f"{path}[{index}]"
        kind = bodies.fields(tool, at).get("type")
        if (kind is None or kind in PLAIN_TOOLS) and isinstance(tool.get("name") or _inner_name(tool), str):
            check_fields(tool, _TOOL, f"{at}.")
            continue
        called = bodies.shown(kind if kind is not None else next(iter(tool), "nothing"))
        refuse(
            "provider_tool",
            f"{called} is no tool of your own; what one that the provider runs costs cannot be bounded",
            'declare a plain tool ("type": "function" or "custom", with a name) and run it yourself',
            at,
        )


def _named(inner: object, path: str) -> None:
    check_fields(bodies.fields(inner, path), _NAMED, f"{path}.")


def short_cache(control: object, path: str) -> None:
    """Lets a cache mark pass, for the usual five minutes: the longer time costs more to write."""
    if control is not None:
        bodies.fields(control, path).pop("ttl", None)


_NAMED: dict[str, Check] = {
    **dict.fromkeys(("name", "description", "parameters", "strict", "format"), passes),
    "cache_control": short_cache,
}
"""What a plain tool says of itself; any other field may turn on one that the provider runs."""
_TOOL: dict[str, Check] = {
    **_NAMED,
    **dict.fromkeys(("type", "input_schema", "input_examples"), passes),
    **dict.fromkeys(("eager_input_streaming", "defer_loading"), passes),
    "function": _named,
    "custom": _named,
}


def _inner_name(tool: Mapping[str, Any]) -> object:
    inner = tool.get("function") or tool.get("custom")
    return inner.get("name") if isinstance(inner, dict) else None


def check_tool_choice(choice: object, path: str) -> None:
    """A choice names a plain tool, or how freely to choose."""
    if isinstance(choice, str):
        return
    kind = bodies.fields(choice, path).get("type")
    if kind not in ("function", "custom", "tool", "auto", "any", "none", "required", "allowed_tools"):
        refuse(
            "provider_tool",
            f"{bodies.shown(kind)} chooses a tool that the provider runs",
            "choose one of your own tools",
            path,
        )


NO_FILE = Refused(
    "not_boundable",
    "what a file costs depends on its pages, which cannot be counted here",
    "send its text, or its pages as inline images",
)
NO_FILE_ID = Refused(
    "server_state", "a file kept by the provider has a size that cannot be known", "send the content inline"
)
NO_AUDIO = Refused("not_boundable", "sound has its own price, which cannot be bounded here", "send text")
NO_STATE = Refused(
    "server_state",
    "it adds input that is kept by the provider, whose size cannot be known",
    "send the whole conversation in this call",
)
NO_BACKGROUND = only(
    False,
    kind="server_state",
    why="a background call goes on, and costs, after its answer",
    instead="leave it out, and stream instead",
)
ONE_ANSWER = only(
    1, kind="costs_more", why="each further answer is paid for", instead="ask for one answer, or call again"
)
SERVICE_TIER = only(
    "default",
    "auto",
    kind="costs_more",
    why="another service tier has another price",
    instead='leave it out, or send "default"',
)
NO_PROVIDER_CHOICE = Refused(
    "unknown_field", "Dash itself chooses the provider, and holds what that one costs", "leave it out"
)
NO_PROVIDER_TOOL = Refused(
    "provider_tool",
    "it has the provider run a tool, and what that costs cannot be bounded",
    "declare a plain tool and run it yourself",
)
