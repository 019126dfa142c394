"""Who may call at one listener: the listener proves the domain, the key names the caller in it.

Keys have 256 bits and are kept as SHA-256 only; a full-entropy secret needs no slower hash.
"""

import hashlib
import hmac
from collections.abc import Iterable

from .caller import Caller
from .formats.format import Style
from .ledger import Payer

LATER, NEVER = 503, 400
"""How a key that rests is refused: it may be tried again soon, or is not to be."""


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
        self._resting: dict[bytes, int] = {}
        if payer is not None:
            caller = Caller(payer, style, hosts=tuple(hosts))
            for key in keys:
                self.admit(digest(key), caller)

    def admit(self, key_digest: bytes, caller: Caller) -> None:
        """Lets a key in; it takes its digest, so that a restart can do it from the table."""
        self._callers[key_digest] = caller
        self._resting.pop(key_digest, None)

    def rest(self, key_digest: bytes, status: int) -> None:
        """The key is known here, and opens nothing for now: LATER or NEVER."""
        self.revoke(key_digest)
        self._resting[key_digest] = status

    def resting(self, key: str) -> int | None:
        """How a key is refused that nobody is let in with; None for one that is not known at all."""
        return self._resting.get(digest(key))

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
        self._resting.clear()

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
