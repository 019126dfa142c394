"""What the runtime cannot get done at the moment, for `daemon.status`."""

import trio


class Trouble:
    """One sentence, or none, and a bell for whoever shows it."""

    def __init__(self) -> None:
        self.text = ""
        self._changed = trio.Event()

    def say(self, text: str) -> None:
        """Something is wrong."""
        self._set(text)

    def clear(self) -> None:
        """Nothing is wrong any more."""
        self._set("")

    def ticket(self) -> trio.Event:
        """Set at the next change; take it before looking."""
        return self._changed

    def _set(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._changed.set()
            self._changed = trio.Event()
