"""The wire formats: one file each, sans-I/O. `FORMATS` by name, `by_path` by the path of a request.

A format parses and allow-lists a call, writes the outgoing body, says what an answer used, and shapes a
refusal. What several formats decide alike is beside them: `body` (bounded reading), `allow` (what passes),
`images`, `thinking`, `outgoing`, `openai_usage`, `refusals`. Adding a format is adding one file and one
line here.
"""

from dashd.proxy.formats.anthropic import Anthropic
from dashd.proxy.formats.format import CallRefused, Format, FormatName, ParsedCall, Style
from dashd.proxy.formats.openai_chat import OpenAIChat
from dashd.proxy.formats.openai_responses import OpenAIResponses

FORMATS: dict[str, Format] = {form.name: form for form in (OpenAIChat(), OpenAIResponses(), Anthropic())}


def by_path(path: str) -> Format | None:
    """The format that a request path asks for, below any prefix and with any query; None where none does."""
    bare = path.partition("?")[0]
    return next((form for form in FORMATS.values() if bare.endswith(form.paths)), None)


__all__ = ["FORMATS", "CallRefused", "Format", "FormatName", "ParsedCall", "Style", "by_path"]
