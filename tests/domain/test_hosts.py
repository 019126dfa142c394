"""Hosts: what is an exact name, what a preset is, and which addresses are never dialled."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import hosts
from dashd.domain.hosts import Host
from dashd.wire.errors import InvalidParams


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("api.example.org", Host("api.example.org")),
        ("API.Example.ORG.", Host("api.example.org")),
        ("api.example.org:443", Host("api.example.org")),
        ("api.example.org.:8443", Host("api.example.org", 8443)),
        ("xn--bcher-kva.example", Host("xn--bcher-kva.example")),
        ("1.2.3.4.example", Host("1.2.3.4.example")),
        ("0x7f.example", Host("0x7f.example")),
        ("a.b", Host("a.b")),
        (".".join(["a" * 63] * 3 + ["b" * 61]), Host(".".join(["a" * 63] * 3 + ["b" * 61]))),
    ],
)
def test_a_host_has_one_form(text: str, host: Host) -> None:
    assert hosts.parse(text) == host
    assert hosts.parse(str(host)) == host


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*", "names are exact"),
        ("*.example.org", "names are exact"),
        ("api.*.org", "names are exact"),
        ("https://api.example.org", "no scheme"),
        ("api.example.org/x", "no scheme and no path"),
        ("me@api.example.org", "no user"),
        ("api.example.org@evil.example", "no user"),
        ("me:secret@api.example.org", "no user"),
        ("bücher.example", "not ASCII"),
        ("api.exam\u212ale.org", "not ASCII"),
        ("api.example.org\u3002", "not ASCII"),
        ("127.0.0.1", "addresses are not names"),
        ("127.0.0.1.", "addresses are not names"),
        ("127.1:443", "addresses are not names"),
        ("2130706433", "addresses are not names"),
        ("0x7f000001", "addresses are not names"),
        ("1.0x7f", "addresses are not names"),
        ("0177.0.0.1", "addresses are not names"),
        ("[::1]:443", "addresses are not names"),
        ("::1", "addresses are not names"),
        ("fe80::1%eth0", "addresses are not names"),
        ("[fe80::1%25eth0]:443", "addresses are not names"),
        ("::ffff:127.0.0.1", "addresses are not names"),
        ("localhost", "without a dot"),
        ("localhost.", "without a dot"),
        ("metadata:80", "without a dot"),
        ("", "labels are"),
        (".", "labels are"),
        ("a..b", "labels are"),
        ("a.b..", "labels are"),
        (".a.b", "labels are"),
        ("-a.b", "labels are"),
        ("a-.b", "labels are"),
        ("a_b.c", "labels are"),
        ("a b.c", "labels are"),
        ("api.example.org\0", "labels are"),
        ("evil.example\0.api.example.org", "labels are"),
        ("api.example.org\n", "labels are"),
        ("api.example.org\r\nhost: x", "labels are"),
        ("api.example.org%00", "labels are"),
        ("a" * 64 + ".b", "labels are"),
        (".".join(["a" * 63] * 4), "longer than 253"),
        ("api.example.org:", "its port"),
        ("api.example.org:0", "its port"),
        ("api.example.org:0443", "its port"),
        ("api.example.org:65536", "its port"),
        ("api.example.org:+443", "its port"),
        ("api.example.org:443x", "its port"),
        ("api.example.org:\u0664\u0664\u0663", "its port"),
        ("api.example.org:443\n", "its port"),
    ],
)
def test_what_is_no_host_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidParams, match=re.escape(why)) as caught:
        hosts.parse(text, path="hosts[0]")
    assert caught.value.path == "hosts[0]"
    assert caught.value.hint
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


def test_presets_are_spelt_out_to_exact_names() -> None:
    for name, names in hosts.PRESETS.items():
        assert hosts.parse_all([name]) == tuple(sorted(names))
        assert all(hosts.parse(each) == Host(each) for each in names)
    both = hosts.parse_all(["npm", "PyPI", "api.example.org", "API.example.org.:443"])
    assert both == tuple(sorted({"api.example.org", *hosts.PRESETS["npm"], *hosts.PRESETS["pypi"]}))
    assert hosts.parse_all(both) == both


def test_presets_of_one_s_own_take_their_place() -> None:
    """A mirror: the word then means that mirror alone."""
    mirror = {"npm": ("npm.example.org:8443",)}
    assert hosts.parse_all(["npm"], presets=mirror) == ("npm.example.org:8443",)
    with pytest.raises(InvalidParams, match="no preset 'pypi'"):
        hosts.parse_all(["pypi"], presets=mirror)
    with pytest.raises(InvalidParams):
        hosts.parse_all(["npm"], presets={"npm": ("*.example.org",)})


def test_an_unknown_word_is_told_what_is_near() -> None:
    with pytest.raises(InvalidParams) as caught:
        hosts.parse_all(["a.b", "nmp"])
    assert caught.value.path == "hosts[1]"
    assert "did you mean npm?" in caught.value.hint
    with pytest.raises(InvalidParams, match="no preset 'localhost'"):
        hosts.parse_all(["localhost"])
    with pytest.raises(InvalidParams, match="addresses are not names"):
        hosts.parse_all(["2130706433"])


def test_hosts_are_bounded() -> None:
    assert len(hosts.parse_all(f"h{n}.example" for n in range(hosts.HOSTS_MAX))) == hosts.HOSTS_MAX
    with pytest.raises(InvalidParams, match="more than 256"):
        hosts.parse_all(f"h{n}.example" for n in range(hosts.HOSTS_MAX + 1))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("255.255.255.255", "reserved"),
        ("198.18.0.1", "benchmarks"),
        ("192.0.2.1", "documentation"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::ffff:93.184.215.14", "IPv4-mapped"),
        ("::ffff:5db8:d70e", "IPv4-mapped"),
        ("::127.0.0.1", "reserved"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b:1::a00:1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2001:0:7f00:1::", "reserved"),
        ("2001:db8::1", "documentation"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "with a zone"),
        ("2606:4700::1111%1", "with a zone"),
        ("fec0::1", "site-local"),
        ("fd00::1", "private"),
        ("ff02::1", "multicast"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("", "not an address"),
        ("example.org", "not an address"),
        ("127.1", "not an address"),
        ("0127.0.0.1", "not an address"),
        ("93.184.215.14 ", "not an address"),
        ("[2606:4700::1111]", "not an address"),
    ],
)
def test_addresses_that_are_never_dialled(address: str, why: str) -> None:
    assert hosts.refused_address(address) == why


@pytest.mark.parametrize(
    "address",
    [
        "93.184.215.14",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "1.1.1.1",
        "2606:4700::1111",
    ],
)
def test_public_addresses_pass(address: str) -> None:
    assert hosts.refused_address(address) is None


@given(st.ip_addresses())
def test_nothing_passes_that_python_calls_special(found) -> None:
    """Python's own lists, whichever version they are of, forbid nothing that the table lets pass."""
    if hosts.refused_address(str(found)) is None:
        assert found.is_global
        special = (found.is_multicast, found.is_loopback, found.is_link_local, found.is_reserved)
        assert not any(special)
        assert isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped is None


@given(st.text(max_size=50) | st.text("a.:[]@%*1x-\0", max_size=12))
def test_any_text_is_an_exact_name_or_refused(text: str) -> None:
    try:
        host = hosts.parse(text)
    except InvalidParams:
        return
    assert hosts.parse(str(host)) == host
    assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host.name)
    assert 0 < host.port < 65_536
    with pytest.raises(ValueError, match="does not appear"):
        ipaddress.ip_address(host.name)
