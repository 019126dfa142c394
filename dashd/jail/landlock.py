"""Landlock rulesets as numbers: what the running kernel can restrict, and which rights a folder gives.

Made here, applied by the stage. Rights that an older kernel does not know are left out, and the probe says
what that leaves open. https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import struct
from collections.abc import Iterable
from typing import Any

_CREATE_RULESET, _VERSION = 444, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
READ_NO_EXECUTE = READ_FILE | READ_DIR
WRITE = (
    READ
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE
)
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
BIND_TCP, CONNECT_TCP = 1, 2
ABSTRACT_SOCKETS, SIGNALS = 1, 2

ABI_NET, ABI_SCOPES = 4, 6
_FILES_OF_ABI = {0: 0, 1: 13, 2: 14, 3: 15, 4: 15}
"""How many of the rights above each version knows; later ones know all sixteen."""


def abi() -> int:
    """The version that the kernel speaks; 0 where there is none or it is switched off."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(
        ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)
    )
    return max(0, found)


def ruleset(
    version: int,
    *,
    read: Iterable[str] = (),
    look: Iterable[str] = (),
    write: Iterable[str] = (),
    devices: Iterable[str] = (),
    ports: Iterable[int] | None = None,
) -> dict[str, Any]:
    """The stage's `landlock`: everything but these paths is out of reach.

    `look` may be read and not executed. `ports` of any address may be connected to, and none be bound; None
    leaves the network to a namespace.
    """
    handled = (1 << _FILES_OF_ABI.get(version, 16)) - 1
    net = BIND_TCP | CONNECT_TCP if ports is not None and version >= ABI_NET else 0
    scopes = ABSTRACT_SOCKETS | SIGNALS if version >= ABI_SCOPES else 0
    words = 1 if version < ABI_NET else 2 if version < ABI_SCOPES else 3
    grants = ((read, READ), (look, READ_NO_EXECUTE), (write, WRITE), (devices, DEVICE))
    return {
        "attributes": struct.pack("=QQQ", handled, net, scopes)[: 8 * words].hex(),
        "paths": [
            (path, rights & handled, rights & handled & OF_FILES)
            for paths, rights in grants
            for path in paths
        ],
        "ports": [(port, CONNECT_TCP) for port in ports or ()] if net else [],
    }
