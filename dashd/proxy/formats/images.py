"""Inline images: they pass, each at the most that an image can cost; by address or as a file they do not.

An image's base64 is pixels and not text, so it counts as tokens by its kind and not by its bytes.
"""

import re
from dataclasses import dataclass

from dashd.proxy.formats import body as bodies
from dashd.proxy.formats.allow import refuse

FORMS = ("png", "jpeg", "jpg", "gif", "webp")
_DATA_URL = re.compile(r"data:image/(?P<form>[a-z]+)(?:;[a-z0-9=_.-]+)*;base64,", re.IGNORECASE)


@dataclass(slots=True)
class Images:
    """The inline images of one call."""

    tokens_each: int
    tokens_each_low: int
    tokens: int = 0
    tokens_more: int = 0
    """How many more it is where the wish for low detail is not heard."""
    payload_bytes: int = 0

    def url(self, url: object, path: str, *, low: bool = False) -> None:
        """Takes an image given by address, which must carry the image in itself."""
        start = _DATA_URL.match(url) if isinstance(url, str) else None
        if start is None or not isinstance(url, str):
            refuse(
                "remote_url",
                "an image by address is fetched by the provider, and its size cannot be known",
                "send it inline, as data:image/png;base64,…",
                path,
            )
        self._form(start["form"].lower(), path)
        self._add(len(url) - start.end(), low=low)

    def base64(self, media_type: object, data: object, path: str) -> None:
        """Takes an image given inline."""
        if not isinstance(media_type, str) or not isinstance(data, str):
            bodies.malformed("not an inline image", "send media_type and data (base64)", path=path)
        self._form(media_type.lower().removeprefix("image/"), path)
        self._add(len(data), low=False)

    def _form(self, form: str, path: str) -> None:
        if form not in FORMS:
            refuse(
                "not_boundable",
                f"what {bodies.shown(form)} costs cannot be bounded",
                f"send an image as one of {', '.join(FORMS)}",
                path,
            )

    def _add(self, payload_bytes: int, *, low: bool) -> None:
        self.payload_bytes += payload_bytes
        self.tokens += self.tokens_each_low if low else self.tokens_each
        self.tokens_more += self.tokens_each - self.tokens_each_low if low else 0
