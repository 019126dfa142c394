"""Attacks over sockets. Every victim answers with a canary and remembers which attack it heard from."""

import os
import socket

from raw import Failed, attack, loot

PATIENCE_S = 0.5
MPTCP = 262
MSG_FASTOPEN = 0x20000000
AF_ALG, AF_VSOCK, AF_NETLINK, AF_PACKET = 38, 40, 16, 17
VMADDR_CID_HOST = 2


def ask(made, address):
    """Connects, and takes what the victim says."""
    with made:
        made.settimeout(PATIENCE_S)
        made.connect(tuple(address) if isinstance(address, list) else address)
        return loot(made.recv(100))


def ask_datagram(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(PATIENCE_S)
        made.connect(tuple(address))  # so that nobody there is an error at once
        made.send(b"x")
        return loot(made.recv(100))


def ask_unix(path):
    return ask(socket.socket(socket.AF_UNIX), path)


@attack(31)
def unix_abstract(t):
    return ask_unix("\0" + t.sockets["unix_abstract"])


@attack(32)
def unix_control(t):
    return ask_unix(t.sockets["unix_control"])


@attack(33)
def unix_proxy(t):
    return ask_unix(t.sockets["unix_proxy"])


@attack(34)
def unix_docker(t):
    return ask_unix(t.sockets["unix_docker"])


@attack(35)
def unix_ssh_agent(t):
    return ask_unix(t.sockets["unix_ssh_agent"])


@attack(36)
def unix_log(t):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.sendto(b"forged", t.sockets["unix_log"])
    return "forged"


@attack(36)
def unix_log_abstract(t):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.sendto(b"forged", "\0" + t.sockets["unix_log_abstract"])
    return "forged"


@attack(37)
def tcp_v4(t):
    return ask(socket.socket(), t.sockets["tcp_v4"])


@attack(37)
def tcp_v6(t):
    return ask(socket.socket(socket.AF_INET6), t.sockets["tcp_v6"])


@attack(38)
def tcp_other_host(t):
    """The port that the agent may reach, on another address."""
    return ask(socket.socket(), t.sockets["tcp_other_host"])


@attack(39)
def mptcp(t):
    return ask(socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP), t.sockets["mptcp"])


@attack(40)
def tcp_fast_open(t):
    with socket.socket() as made:  # with a time limit it would be non-blocking, and EINPROGRESS
        made.sendto(b"x", MSG_FASTOPEN, tuple(t.sockets["tcp_fast_open"]))
        return loot(made.recv(100))


@attack(41)
def udp_v4(t):
    return ask_datagram(socket.AF_INET, t.sockets["udp_v4"])


@attack(41)
def udp_v6(t):
    return ask_datagram(socket.AF_INET6, t.sockets["udp_v6"])


@attack(42)
def icmp(t):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    return "open"


@attack(42)
def raw_ip(t):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "open"


@attack(42)
def packet(t):
    socket.socket(AF_PACKET, socket.SOCK_RAW, 0)
    return "open"


@attack(42)
def af_alg(t):
    socket.socket(AF_ALG, socket.SOCK_SEQPACKET)
    return "open"


@attack(43)
def netlink(t):
    socket.socket(AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))
    return "open"


@attack(44)
def vsock(t):
    """Whoever may open one can talk to the hypervisor, in whatever network namespace."""
    socket.socket(AF_VSOCK, socket.SOCK_STREAM)
    return "open"


def seen_from(t):
    """Whose network it is that something listens on."""
    own = os.stat("/proc/self/ns/net").st_ino != t.net_namespace
    return "own namespace" if own else "the host's"


@attack(45)
def tcp_bind(t):
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
    return seen_from(t)


@attack(46)
def listen_unbound(t):
    with socket.socket() as made:
        made.listen()
        if not made.getsockname()[1]:
            raise Failed("no port")
    return seen_from(t)
