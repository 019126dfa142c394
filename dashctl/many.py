"""Commands on many ids: one failing does not stop the others, and each has its own result.

The exit code is that of the failure where a single id was named, and 1 where some of many failed.
"""

from __future__ import annotations

from dashctl import calling
from dashd import client_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from dashctl.terminal import Output


class Results:
    """What became of each id, in the order they were named."""

    def __init__(self, out: Output, ids: Sequence[str]) -> None:
        """An id named twice is acted on once."""
        self.out = out
        self.ids = list(dict.fromkeys(ids))
        self._by_id: dict[str, dict[str, Any]] = {}
        self._exit_codes: list[int] = []

    def act(self, call: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
        """Calls `call` with each id and gives the answers of those that succeeded."""
        done = []
        for subject in self.ids:
            try:
                answer = call(subject)
            except client_blocking.Refused as failure:
                self.fail(subject, failure.as_dict(), calling.exit_code(failure))
            else:
                self._by_id[subject] = {"id": subject, "ok": True, **answer}
                done.append(self._by_id[subject])
        return done

    def fail(self, subject: str, error: dict[str, Any], exit_code: int) -> None:
        """Notes that `subject` did not get there."""
        self._by_id[subject] = {"id": subject, "ok": False, "error": error}
        self._exit_codes.append(exit_code)

    def finish(self, sentence: Callable[[dict[str, Any]], str]) -> int:
        """Shows every result and gives the exit code; `sentence` makes a line of one that succeeded."""
        shown = [self._by_id[subject] for subject in self.ids]
        if self.out.as_json:
            self.out.data(shown)
            return self._exit_code()
        for result in shown:
            if result["ok"]:
                self.out.line(sentence(result))
            else:
                about = "" if result["id"] in result["error"]["message"] else result["id"]
                self.out.failure(result["error"], subject=about)
        return self._exit_code()

    def _exit_code(self) -> int:
        if not self._exit_codes:
            return 0
        return self._exit_codes[0] if len(self.ids) == 1 else calling.EXIT_FAILED
