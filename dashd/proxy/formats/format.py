"""What a wire format is: how a call is read, what goes out, how the answer is metered, how a refusal looks.

`Format` is the contract the rest of the proxy codes against; one file beside this one keeps it for each
format. Nothing here does I/O, knows a provider, or decides about money.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dashd.domain.prices import Price
from dashd.domain.speech import FormatName as FormatName
from dashd.proxy.meter import Meter
from dashd.wire import errors

Style = Literal["openclaw", "pi", "embedded", "outside"]
"""Whose program reads the refusal; `outside` is anybody with a key."""


class CallRefused(errors.InvalidParams):
    """This call asks for something whose cost cannot be bounded."""

    status = 400

    def __init__(self, kind: str, message: str, *, hint: str = "", path: str = "") -> None:
        """`kind` is stable (`provider_tool`, `remote_url`, `server_state`, `costs_more`, `not_boundable`,
        `unknown_field`, `malformed`); `hint` says what would pass; `path` is where in the body
        (`tools[2]`).
        """
        super().__init__(message, hint=hint, path=path)
        self.kind = kind

    @property
    def text(self) -> str:
        """What the caller is told: where, why, and what would pass."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}" + (f"; {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call that passed the allow-list, cleaned: only what may go out is left in `body`."""

    format: FormatName
    model: str
    """As the caller named it; a name, an alias or a chain."""
    stream: bool
    output_tokens: int | None
    """What the caller asked for; None where it left that open."""
    input_bytes: int
    """UTF-8 bytes of the outgoing body, with what Dash adds, without the payload of inline images: never less
    than the input tokens they can become."""
    image_tokens: int
    """The most that the inline images can become."""
    body: dict[str, Any]
    tools: bool
    image_tokens_more: int = 0
    """How many more, where the provider does not heed that some are wanted in low detail."""


class Format(Protocol):
    """One wire format. Stateless: one instance serves every call."""

    name: FormatName
    paths: tuple[str, ...]
    """Ends of the request paths it serves; any prefix (`/a/<name>`) may come before."""
    upstream_path: str
    """Behind a provider's base address."""

    def parse(self, body: bytes) -> ParsedCall:
        """Reads and cleans a request body; raises CallRefused."""

    def outgoing(self, call: ParsedCall, *, model: str, output_tokens: int) -> bytes:
        """The body that goes to the provider: its name for the model, and output capped at `output_tokens`
        >= 1.
        """

    def headers(self, secret: str | None, asked: dict[str, str] | None = None) -> dict[str, str]:
        """Headers for the provider, names in lower case. `asked` are the caller's own (lower case); few
        pass.
        """

    def meter(
        self, price: Price, held_nusd: int, output_tokens: int, held_tokens: int | None = None
    ) -> Meter:
        """A meter for one try of a call that holds `held_nusd` and was capped at `output_tokens`."""

    def refusal(self, status: int, kind: str, message: str, *, style: Style) -> tuple[int, bytes]:
        """Status and body of a refusal, in this format's shape and the reader's style."""

    def refusal_in_stream(self, status: int, kind: str, message: str, *, style: Style) -> bytes:
        """The same as the last event of a stream that had already begun."""
