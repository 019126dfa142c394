"""Who may call at one listener: the listener proves the domain, the key names the caller in it.

Keys have 256 bits and are kept as SHA-256 only; a full-entropy secret needs no slower hash.
"""

import hashlib
import hmac
from collections.abc import Iterable

from .caller import Caller
from .formats.format import Style
from .ledger import Payer


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


class Door:
    """One listener's callers. A jailed agent's door has one; a gateway's has each of its agents."""

    def __init__(
        self, payer: Payer | None, style: Style, keys: Iterable[str] = (), *, hosts: Iterable[str] = ()
    ) -> None:
        """With a `payer`, all `keys` are theirs, and `hosts` what CONNECT opens to them; `style` also shapes
        what is said to strangers.
        """
        self.style = style
        self._callers: dict[bytes, Caller] = {}
        if payer is not None:
            caller = Caller(payer, style, hosts=tuple(hosts))
            for key in keys:
                self.admit(digest(key), caller)

    def admit(self, key_digest: bytes, caller: Caller) -> None:
        """Lets a key in; it takes its digest, so that a restart can do it from the table."""
        self._callers[key_digest] = caller

    def revoke(self, key_digest: bytes) -> bool:
        """Calls with this key are refused from now on; those under way end, and with a caller's last key its
        tunnels are ended. False where the key was not known.
        """
        caller = self._callers.pop(key_digest, None)
        if caller is not None and all(caller is not other for other in self.callers()):
            caller.traffic.close()
        return caller is not None

    def clear(self) -> None:
        """Lets nobody in any more."""
        self._callers.clear()

    def callers(self) -> list[Caller]:
        """Everybody who is let in."""
        return list({id(caller): caller for caller in self._callers.values()}.values())

    def find(self, key: str) -> Caller | None:
        """Whose key it is; it takes the same time for every wrong one."""
        shown = digest(key)
        found = None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, shown):
                found = caller
        return found
