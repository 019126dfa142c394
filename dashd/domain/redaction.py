"""Takes out of a text what looks like a secret, before the text is kept. Pure.

It knows the shapes that keys and tokens have, whatever the text is (prose, code, JSON in JSON), and the
secrets that it is told. JSON may write any character in several ways (`/`, `\\/`, `\\u002f`), and JSON in
JSON does so once more: the text is looked at as it is and with its escapes read, layer by layer, and what is
found in a layer is taken out of the text itself. It cannot know a password that looks like a word: whoever
reads what is kept should.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

MARK = "[redacted]"
LONGEST = 8_192
"""No secret that is looked for is longer, in characters."""
LAYERS_MAX = 4
"""JSON in JSON in JSON … that is read, at most."""

_Span = tuple[int, int]
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\"\\/bfnrt])"
)
_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_SHAPES = re.compile(
    # Another beginning is an end too: with many of them each would be looked through to the bound.
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,8192}?"
    r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|(?=-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)|\Z)"
    r"|\bdk_(?:live_|test_)?[\w-]{16,128}"  # our own
    r"|\bsk-[\w-]{16,256}"  # OpenAI, Anthropic, OpenRouter …
    r"|\b(?:gh[opsur]_|github_pat_|glpat-|npm_|hf_|gsk_|xai-|pypi-|whsec_|[rs]k_(?:live|test)_)[\w-]{16,256}"
    r"|\bxox[a-z]-[\w-]{10,256}"
    r"|\bAIza[\w-]{30,64}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\beyJ[\w-]{8,2048}\.[\w-]{8,2048}(?:\.[\w-]{0,1024})?",
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?P<name>(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|auth[_-]?token|access[_-]?token|refresh[_-]?token"
    r"|client[_-]?secret|private[_-]?key|passw(?:or)?d|passphrase|token)[\w-]{0,16}"
    r"(?:\\?[\"'])?\s{0,4}[=:]\s{0,4}(?:\\?[\"'])?)(?P<value>[^\s\"'\\,;&<>{}()\[\]]{6,512})"
    r"|(?P<scheme>\b(?:bearer|basic)\s{1,4})(?P<credentials>[\w.~+/=-]{12,1024})"
    r"|(?P<url>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{0,64}:)(?P<password>[^\s/@\"']{1,128})(?=@)",
    re.IGNORECASE,
)


def redact(text: str, known: Sequence[str] = ()) -> str:
    """The text with every secret replaced; `known` are taken out whatever they look like."""
    return _replaced(text, _spans(_layers(text), known))


def without(text: str, known: Sequence[str], mark: str = MARK) -> str:
    """The text without these secrets, however they are escaped; nothing else is looked for."""
    spans = [span for layer in _layers(text) for span in layer.sources(_found(layer.text, known))]
    return _replaced(text, spans, mark)


def cut(text: str, bytes_max: int, known: Sequence[str] = (), *, whole: bool = True) -> tuple[str, bool]:
    """The text redacted, then cut to so many UTF-8 bytes; and whether something is missing.

    `whole` is false where the text given is the beginning of a longer one. No half of a secret is left: what
    comes before a cut, where one may have begun, is left out too.
    """
    seen = text[: bytes_max + LONGEST]
    layers = _layers(seen)
    spans = _spans(layers, known)
    cut_before = not whole or len(seen) < len(text)
    if cut_before:
        # Counted as it reads: a secret of which every character is escaped is many times longer.
        end = min(layer.source(max(0, len(layer.text) - LONGEST)) for layer in layers)
        seen, spans = seen[:end], [(first, min(last, end)) for first, last in spans if first < end]
    kept = _replaced(seen, spans).encode("utf-8", "replace")
    missing = cut_before or len(kept) > bytes_max
    return kept[:bytes_max].decode("utf-8", "ignore"), missing


class _Layer:
    """A text as it reads with its escapes read, and where each of its characters is from."""

    def __init__(self, text: str, under: "_Layer | None" = None) -> None:
        self.text = text
        self._under = under
        self._at: list[int] = []
        self._longer: list[int] = [0]
        if under is not None:
            escapes = list(_ESCAPE.finditer(under.text))
            widths = [len(each.group()) - 1 for each in escapes]
            self._longer = [0, *accumulate(widths)]
            self._at = [
                each.start() - before for each, before in zip(escapes, self._longer[:-1], strict=True)
            ]

    def source(self, at: int) -> int:
        """Where the character is in the text itself; of the length of this layer: where the text ends."""
        layer, found = self, at
        while layer._under is not None:
            found += layer._longer[bisect_left(layer._at, found)]
            layer = layer._under
        return found

    def sources(self, spans: Iterator[_Span]) -> Iterator[_Span]:
        """The same spans in the text itself."""
        return ((self.source(first), self.source(last)) for first, last in spans)


def _layers(text: str) -> list[_Layer]:
    """The text as it is, then with its escapes read, as often as there are some."""
    found = [_Layer(text)]
    while len(found) <= LAYERS_MAX and "\\" in found[-1].text:
        read = _ESCAPE.sub(_character, found[-1].text)
        if read == found[-1].text:
            break
        found.append(_Layer(read, found[-1]))
    return found


def _character(found: re.Match[str]) -> str:
    escape = found.group()
    if escape[1] != "u":
        return _SHORT[escape[1]]
    units = bytes.fromhex(escape.replace("\\u", ""))
    return units.decode("utf-16-be", "surrogatepass")


def _spans(layers: Sequence[_Layer], known: Sequence[str]) -> list[_Span]:
    """Where secrets are in the text itself."""
    return [span for layer in layers for span in layer.sources(_secrets(layer.text, known))]


def _secrets(text: str, known: Sequence[str]) -> Iterator[_Span]:
    yield from _found(text, known)
    yield from (found.span() for found in _SHAPES.finditer(text))
    for found in _NAMED.finditer(text):
        # What names the secret stays, so that a reader sees what was there.
        yield found.span("value" if found["name"] else "credentials" if found["scheme"] else "password")


def _found(text: str, known: Sequence[str]) -> Iterator[_Span]:
    for secret in filter(None, known):
        at = text.find(secret)
        while at >= 0:
            yield at, at + len(secret)
            at = text.find(secret, at + len(secret))


def _replaced(text: str, spans: Sequence[_Span], mark: str = MARK) -> str:
    """Spans that overlap or touch are one."""
    parts, done = [], 0
    covered = -1
    for first, last in sorted(spans):
        if first > covered:
            parts += [text[done:first], mark]
        covered = max(covered, last)
        done = max(done, covered)
    return "".join([*parts, text[done:]])
