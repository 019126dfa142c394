"""What is taken out of a text before it is kept, what stays, and that a cut leaves no half of a secret."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain import redaction
from dashd.domain.redaction import MARK, cut, redact

OURS = "dk_live_" + "aB3-_" * 8 + "xyz"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "secret",
    [
        OURS,
        "dk_" + "0123456789abcdef" * 4,
        "sk-proj-abcdefghijklmnop1234",
        "sk-ant-api03-abcdefghijklmnop",
        "ghp_abcdefghijklmnop1234",
        "github_pat_11ABCDEFG0abcdefghijkl",
        "glpat-abcdefghij1234567890",
        "xoxb-1234567890-abcdef",
        "AIza" + "a" * 35,
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        PEM,
        json.dumps(PEM)[1:-1],
    ],
)
@pytest.mark.parametrize("around", ["{}", "key is {} here", '{{"a":"{}"}}', "X={}\n"])
def test_what_looks_like_a_secret_goes(secret, around):
    found = redact(around.format(secret))
    assert secret not in found
    assert MARK in found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("OPENAI_API_KEY=abcdef123456", f"OPENAI_API_KEY={MARK}"),
        ('{"password": "hunter2hunter2"}', f'{{"password": "{MARK}"}}'),
        (r"{\"api_key\":\"zzzzzzzz\"}", rf"{{\"api_key\":\"{MARK}\"}}"),
        ("authorization: Bearer abcdefghijkl", f"authorization: Bearer {MARK}"),
        ("postgres://joe:verysecret@db/x", f"postgres://joe:{MARK}@db/x"),
        ("client_secret: topsecret1,", f"client_secret: {MARK},"),
    ],
)
def test_what_is_named_as_one_goes_and_its_name_stays(text, left):
    assert redact(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "the task is to sk-ip a step",
        "commit 3fa9c1d2e4b5a69788776655443322110ffeeddc",
        "def token(bits): return secrets.randbits(bits)",
        "max_tokens: 100, tokens = 12",
        "see https://example.com/a:b@c and http://127.0.0.1:8080/v1",
        "a password is needed",
    ],
)
def test_what_is_none_stays(text):
    assert redact(text) == text


def test_what_is_known_goes_whatever_it_looks_like():
    assert redact("say open sesame twice: open sesame", ["open sesame", ""]) == f"say {MARK} twice: {MARK}"
    assert redact("abcd", ["abc", "abcd"]) == MARK


@given(
    before=st.integers(0, 300),
    after=st.integers(0, 20_000),
    bytes_max=st.integers(0, 400),
    whole=st.booleans(),
)
def test_no_half_of_a_secret_is_left_by_a_cut(before, after, bytes_max, whole):
    text = ("é" * before + " " + OURS + " ") * 3 + "x" * after
    found, missing = cut(text, bytes_max, whole=whole)
    assert "dk_" not in found
    assert "aB3" not in found
    assert len(found.encode()) <= bytes_max
    assert missing or (whole and found == redact(text))


@given(end=st.integers(0, len(OURS)))
def test_nor_where_the_text_itself_was_cut_before(end):
    text = (OURS + " ") * 50 + OURS[:end]
    found, missing = cut(text, 10_000, whole=False)
    assert missing
    assert "dk_" not in found


@pytest.mark.parametrize(
    "text", ["-" * 200_000, "a" * 200_000, "token=" * 30_000, "://:" * 50_000, "eyJ" * 70_000]
)
def test_it_is_quick_on_what_is_made_to_be_slow(text):
    """Ratios in the same run: ten times as much takes about ten times as long, not a hundred times."""
    text *= 200_000 // len(text)

    def took(part: str) -> float:
        best = 9.9
        for _ in range(3):
            began = time.perf_counter()
            redaction.redact(part)
            best = min(best, time.perf_counter() - began)
        return best

    assert took(text) < 60 * took(text[: len(text) // 10]) + 0.01
