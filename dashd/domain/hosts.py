"""Which hosts outside an agent may reach: exact names and ports, and which addresses they may turn out to be.

A host is written `name` for port 443, or `name:port`, in lower-case ASCII: what is asked for, what is looked
up and what is compared are the same bytes, so there is nothing that two readers could read differently.
A wildcard is refused, since any name below it can carry data out; so is an address, since nobody can tell
whose it is. A preset is a word for the few names that one tool needs.

Names are checked by text, addresses by a table of our own: what Python calls private changes with its
version.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dashd.wire.errors import InvalidParams

TLS_PORT = 443
NAME_LENGTH_MAX = 253
HOSTS_MAX = 256
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label like these makes the whole an IPv4 address to some readers (`127.1`, `1.0x7f`)."""


def _named(*hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(".".join(labels) for labels in hosts)


# In labels, because these are the names an agent may reach, not an address that Dash itself loads from.
PRESETS: Mapping[str, tuple[str, ...]] = {
    "npm": _named(("registry", "npmjs", "org")),
    "pypi": _named(("pypi", "org"), ("files", "pythonhosted", "org")),
    "crates": _named(("crates", "io"), ("index", "crates", "io"), ("static", "crates", "io")),
    "go": _named(("proxy", "golang", "org"), ("sum", "golang", "org")),
    "github": _named(
        ("github", "com"),
        ("api", "github", "com"),
        ("codeload", "github", "com"),
        ("raw", "githubusercontent", "com"),
        ("objects", "githubusercontent", "com"),
        ("release-assets", "githubusercontent", "com"),
    ),
}


class Host(NamedTuple):
    """One name and one port."""

    name: str
    port: int = TLS_PORT

    def __str__(self) -> str:
        return self.name if self.port == TLS_PORT else f"{self.name}:{self.port}"


def parse(text: str, *, path: str = "hosts") -> Host:
    """A host as somebody wrote it: capitals and one last dot do not matter. Raises InvalidParams."""
    name, colon, port = text.partition(":")
    name = name.lower() if name.isascii() else name
    name = name.removesuffix(".")
    if why := _wrong_name(name, text):
        reason, hint = why
        raise InvalidParams(f"{_shown(text)} is no host: {reason}", hint=hint, path=path)
    if colon and not (_PORT.fullmatch(port) and int(port) < 65_536):
        hint = f"write {name} for port {TLS_PORT}, or {name}:8443"
        raise InvalidParams(
            f"{_shown(text)} is no host: its port is no number to 65535", hint=hint, path=path
        )
    return Host(name, int(port) if colon else TLS_PORT)


def parse_all(
    texts: Iterable[str], *, presets: Mapping[str, tuple[str, ...]] = PRESETS, path: str = "hosts"
) -> tuple[str, ...]:
    """Names and presets as the canonical list of hosts: sorted, nothing twice, presets spelt out."""
    found: set[str] = set()
    for at, text in enumerate(texts):
        each = f"{path}[{at}]"
        if (word := text.strip().lower()) in presets:
            found.update(str(parse(name, path=each)) for name in presets[word])
        elif word.isascii() and word.isalnum() and not word.isdigit():
            raise InvalidParams(f"there is no preset {_shown(text)}", hint=_near(word, presets), path=each)
        else:
            found.add(str(parse(text, path=each)))
        if len(found) > HOSTS_MAX:
            raise InvalidParams(f"more than {HOSTS_MAX} hosts", hint="name those that are needed", path=path)
    return tuple(sorted(found))


def refused_address(address: str) -> str | None:
    """Why nothing is dialled at this address, in a word or two; None where it is a public one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(found, ipaddress.IPv4Address):
        return next((why for network, why in _V4 if found in network), None)
    if found.scope_id is not None:
        return "with a zone"
    why = next((why for network, why in _V6 if found in network), None)
    return why or (None if found in _GLOBAL_V6 else "reserved")


_V4 = [
    (ipaddress.IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_V6 = [
    (ipaddress.IPv6Network(network), why)
    for network, why in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b::/32", "NAT64"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
]
"""Those that carry an IPv4 address within are refused whatever they carry."""


def _wrong_name(name: str, text: str) -> tuple[str, str] | None:
    """(reason, hint) where it is not an exact name."""
    exact = "name it exactly, like api.example.org"
    if "*" in name:
        return "names are exact, a wildcard is not one", "name each host"
    if "://" in text or "/" in text:
        return "a host has no scheme and no path", exact
    if "@" in text:
        return "a host has no user", exact
    if not name.isascii():
        return "it is not ASCII", "write it in its xn-- form"
    if "[" in text or text.count(":") > 1 or _NUMBER.fullmatch(name.rpartition(".")[2]):
        return "addresses are not names", exact
    if len(name) > NAME_LENGTH_MAX:
        return f"it is longer than {NAME_LENGTH_MAX}", exact
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "labels are 1 to 63 letters, digits and inner hyphens", exact
    if len(labels) < 2:
        return "a name without a dot depends on where it is looked up", exact
    return None


def _near(word: str, presets: Mapping[str, tuple[str, ...]]) -> str:
    import difflib  # only who is mistaken waits for it

    near = difflib.get_close_matches(word, presets, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}presets are {', '.join(sorted(presets))}; or name a host like api.example.org"


def _shown(text: str) -> str:
    return ascii(text[:200])
