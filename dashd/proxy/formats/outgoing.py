"""Writes the outgoing body, and weighs it before the model and the limit are known.

What goes out is always written anew from what was read, so a provider sees exactly the values that were
checked: duplicate keys, odd spacing and odd escapes end at Dash. It is written as UTF-8, never with escapes
for plain characters, so that its bytes bound the tokens they can become.
"""

from dataclasses import replace
from typing import Any

import msgspec

from dashd.proxy.formats import body as bodies
from dashd.proxy.formats.format import Format, ParsedCall
from dashd.proxy.formats.images import Images

HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
"""A compressed answer could not be metered as it passes."""


def encode(body: dict[str, Any]) -> bytes:
    """The bytes that go out."""
    return msgspec.json.encode(body)


def weighed(form: Format, call: ParsedCall, images: Images) -> ParsedCall:
    """The call with its weight: what goes out at its longest, images apart."""
    longest = form.outgoing(call, model="m" * bodies.NAME_CHARS_MAX, output_tokens=10**9)
    return replace(
        call,
        input_bytes=len(longest) - images.payload_bytes,
        image_tokens=images.tokens,
        image_tokens_more=images.tokens_more,
    )
