"""Inline images pass at the most an image can cost; anything else that holds pixels or sound does not."""

import pytest

from dashd.proxy.formats import CallRefused
from dashd.proxy.formats.images import Images


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,AAAA",
        "data:image/JPEG;base64,AAAA",
        "DATA:image/webp;charset=utf-8;base64,AAAA",
    ],
)
def test_an_image_inside_the_call_counts_its_tokens_and_not_its_bytes(url):
    images = Images(1_000, 10)
    images.url(url, "at")
    images.url(url, "at", low=True)
    assert (images.tokens, images.payload_bytes) == (1_010, 8)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "HTTP://example.com/a.png",
        "//example.com/a.png",
        "file:///etc/passwd",
        "gs://bucket/a.png",
        " data:image/png;base64,AAAA",
        "data:image/png,AAAA",
        "data:text/html;base64,AAAA",
        "",
        None,
        7,
        {"url": "x"},
    ],
)
def test_an_image_elsewhere_is_refused(url):
    with pytest.raises(CallRefused, match="address") as refused:
        Images(1, 1).url(url, "messages[0].content[1].image_url")
    assert refused.value.kind == "remote_url"
    assert "data:image/png;base64" in refused.value.text
    assert refused.value.path == "messages[0].content[1].image_url"


def test_only_known_kinds_of_image_pass():
    images = Images(1_000, 10)
    images.base64("image/gif", "AAAA", "at")
    assert (images.tokens, images.payload_bytes) == (1_000, 4)
    with pytest.raises(CallRefused, match="'tiff'"):
        images.base64("image/tiff", "AAAA", "at")
    with pytest.raises(CallRefused, match="'svg"):
        images.base64("image/svg+xml", "AAAA", "at")
    with pytest.raises(CallRefused, match="not an inline image"):
        images.base64("image/png", None, "at")
