"""Takes out of a text what looks like a secret, before the text is kept. Pure.

It knows the shapes that keys and tokens have, whatever the text is (prose, code, JSON in JSON), and the
secrets that it is told. It cannot know a password that looks like a word: whoever reads what is kept should.
"""

import re
from collections.abc import Sequence

MARK = "[redacted]"
LONGEST = 8_192
"""No secret that is looked for is longer, in characters."""

_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,8192}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
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
    for secret in sorted(filter(None, known), key=len, reverse=True):
        text = text.replace(secret, MARK)
    text = _SHAPES.sub(MARK, text)
    return _NAMED.sub(_without_value, text)


def _without_value(found: re.Match[str]) -> str:
    """What names the secret stays, so that a reader sees what was there."""
    return (found["name"] or found["scheme"] or found["url"]) + MARK


def cut(text: str, bytes_max: int, known: Sequence[str] = (), *, whole: bool = True) -> tuple[str, bool]:
    """The text redacted, then cut to so many UTF-8 bytes; and whether something is missing.

    `whole` is false where the text given is the beginning of a longer one. No half of a secret is left: what
    comes before a cut, where one may have begun, is left out too.
    """
    seen = text[: bytes_max + LONGEST]
    clean = redact(seen, known)
    if not whole or len(seen) < len(text):
        clean = clean[:-LONGEST]
    kept = clean.encode("utf-8", "replace")
    missing = not whole or len(seen) < len(text) or len(kept) > bytes_max
    return kept[:bytes_max].decode("utf-8", "ignore"), missing
