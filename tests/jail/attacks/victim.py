"""A process outside of the jail, of the same user, with things to be had: `victim.py sibling|daemon CANARY`.

The first line of stdin is a JSON object with what to offer; the answer is one line with the addresses. At the
end of stdin it tells, in a last line, who has reached it. Standard library alone.
"""

import ctypes
import json
import os
import selectors
import socket
import sys

ADD_KEY, KEYCTL = 248, 250
USER_KEYRING, SETPERM, UNLINK = -4, 5, 9
PR_SET_PTRACER, ANYONE = 0x59616D61, -1
libc = ctypes.CDLL(None, use_errno=True)


class Attribute(ctypes.Structure):
    """struct mq_attr"""

    _fields_ = tuple((name, ctypes.c_long) for name in ("flags", "maxmsg", "msgsize", "curmsgs", *"abcd"))


def sibling(offer, canary):
    """Memory, shared memory, a queue, a key, an open file, a working directory."""
    libc.prctl(
        PR_SET_PTRACER, ctypes.c_ulong(ANYONE & (2**64 - 1)), 0, 0, 0
    )  # where Yama would say no to all
    os.chdir(offer["outside"])
    memory = ctypes.create_string_buffer(canary)
    spare = ctypes.create_string_buffer(16)
    shm = libc.shmget(0, 4096, 0o1600)
    libc.shmat.restype = ctypes.c_void_p
    ctypes.memmove(libc.shmat(shm, None, 0), canary, len(canary))
    libc.shmctl(shm, 0, None)  # removed when nobody is attached any more, and still to be attached
    queue = libc.mq_open(
        offer["queue"].encode(), os.O_CREAT | os.O_RDWR, 0o600, ctypes.byref(Attribute(0, 1, 64))
    )
    libc.mq_send(queue, canary, ctypes.c_size_t(len(canary)), 0)
    description = offer["key"].encode()
    key = libc.syscall(ADD_KEY, b"user", description, canary, ctypes.c_size_t(len(canary)), USER_KEYRING)
    libc.syscall(KEYCTL, SETPERM, key, 0x3F3F0000)
    fd = os.open(offer["secret"], os.O_RDONLY)
    where = {"shm_id": shm, "memory": ctypes.addressof(memory), "spare_memory": ctypes.addressof(spare)}
    say({**where, "sibling_fd": fd})
    sys.stdin.read()
    libc.syscall(KEYCTL, UNLINK, key, USER_KEYRING)
    libc.mq_unlink(offer["queue"].encode())
    say({"reached": ["vm_write"] if spare.value == b"hit" else []})


def daemon(offer, canary):
    """One listener for each attack over the network."""
    selector = selectors.DefaultSelector()
    addresses, reached = {}, set()
    for name, made in listeners(offer["folder"]):
        made.setblocking(False)
        selector.register(made, selectors.EVENT_READ, name)
        address = made.getsockname()
        addresses[name] = address.decode()[1:] if isinstance(address, bytes) else address
    selector.register(sys.stdin, selectors.EVENT_READ, "")
    say({"sockets": addresses})
    leaving = False
    while not leaving:
        ready = [(key.fileobj, key.data) for key, _ in selector.select()]
        leaving = any(not name for _, name in ready)
        if leaving:  # what has already arrived is still answered for
            ready = [(key.fileobj, key.data) for key in list(selector.get_map().values())]
        for made, name in ready:
            if name and answer(made, canary):
                reached.add(name)
    say({"reached": sorted(reached)})


def answer(made, canary):
    """Whether somebody was there."""
    try:
        if made.type == socket.SOCK_STREAM:
            peer, _ = made.accept()
            with peer:
                peer.send(canary)
            return True
        _, peer = made.recvfrom(100)
        if peer:
            made.sendto(canary, peer)
        return True
    except BlockingIOError:
        return False


def listeners(folder):
    """(name of the attack, socket)"""
    for name in ("unix_control", "unix_proxy", "unix_docker", "unix_ssh_agent"):
        yield name, bound(socket.AF_UNIX, socket.SOCK_STREAM, f"{folder}/{name}")
    yield "unix_log", bound(socket.AF_UNIX, socket.SOCK_DGRAM, f"{folder}/unix_log")
    yield "unix_abstract", bound(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{folder}/abstract")
    yield "unix_log_abstract", bound(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{folder}/log")
    yield from same_port()
    for name in ("tcp_v4", "mptcp", "tcp_fast_open"):
        yield name, bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    yield "udp_v4", bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
    if os.path.exists("/proc/net/if_inet6"):
        yield "tcp_v6", bound(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        yield "udp_v6", bound(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0))


def same_port():
    """The port that an agent may reach, and the same one of another host: free on both."""
    for _ in range(100):
        allowed = bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        try:
            other = bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.2", allowed.getsockname()[1]))
        except OSError:
            allowed.close()
            continue
        return [("allowed", allowed), ("tcp_other_host", other)]
    raise OSError("no port is free on both addresses")


def bound(family, kind, address):
    made = socket.socket(family, kind)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen(16)
    return made


def say(answer):
    print(json.dumps(answer), flush=True)


{"sibling": sibling, "daemon": daemon}[sys.argv[1]](json.loads(sys.stdin.readline()), sys.argv[2].encode())
