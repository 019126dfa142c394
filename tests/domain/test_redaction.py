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


def escaped(text: str, layers: int, ways: list[int]) -> str:
    """The text as JSON may write it, in so many layers; `ways` says how each character of the first is."""
    for layer in range(layers):
        parts = []
        for at, character in enumerate(text):
            plain = json.dumps(character, ensure_ascii=False)[1:-1]
            units = character.encode("utf-16-be").hex()
            coded = "".join(f"\\u{units[unit : unit + 4]}" for unit in range(0, len(units), 4))
            other = r"\/" if character == "/" else coded.upper().replace("\\U", "\\u")
            parts.append((plain, coded, other)[ways[at % len(ways)] % 3 if ways and not layer else 0])
        text = "".join(parts)
    return text


def read(text: str) -> list[str]:
    """What anybody could read out of it."""
    return [layer.text for layer in redaction._layers(text)]


WAYS = st.lists(st.integers(0, 2), max_size=12)


@given(layers=st.integers(0, 3), ways=WAYS, around=st.sampled_from(["", "say ", "\n", '"a/', "é🎉\t"]))
def test_a_shape_is_seen_through_any_way_of_escaping(layers, ways, around):
    for secret in (OURS, "sk-proj-abcdefghijklmnop1234"):
        text = escaped(f"{around}{secret} rest", layers, ways)
        found = redact(text)
        assert not any(secret in layer or secret[8:] in layer for layer in read(found))
        assert MARK in found
        assert "rest" in read(found)[-1]


@given(
    secret=st.text("bZ0/+=\\\"'é🎉\n-_.", min_size=4, max_size=30),
    layers=st.integers(0, 3),
    ways=WAYS,
)
def test_a_known_secret_is_seen_through_any_way_of_escaping(secret, layers, ways):
    found = redact(escaped(f"<{secret}>", layers, ways), [secret])
    assert not any(secret in layer for layer in read(found))
    assert (redaction.without(f"<{secret}>", [secret], "*"), MARK in found) == ("<*>", True)


@given(layers=st.integers(1, 3), ways=WAYS, name=st.sampled_from(["api_key", "password", "client_secret"]))
def test_a_value_goes_whose_name_or_value_is_escaped(layers, ways, name):
    text = escaped(json.dumps({name: "abc/def+ghi/jkl", "other": "stays here"}), layers, ways)
    found = read(redact(text))[-1]
    assert "ghi" not in found
    assert "stays here" in found


TEXTS = st.text(max_size=20) | st.sampled_from([OURS, 'a/b " ' + OURS, f"\n{OURS}\n"])


@given(value=st.recursive(TEXTS, st.lists, max_leaves=5))
def test_what_was_json_still_is(value):
    text = json.dumps({"password": "abc/def+ghi", "v": value, "inner": json.dumps(value)})
    assert OURS not in json.dumps(json.loads(redact(text)))


def test_what_has_escapes_and_no_secret_stays_to_the_letter():
    text = r'{"a": "C:\\users\u00e9\/x\n", "b": "\ud83c\udf89 \ud83c", "c": "\\\"q\\\""} \x'
    assert redact(text) == text


@given(
    layers=st.integers(0, 2),
    before=st.integers(0, 200),
    bytes_max=st.integers(0, 2_000),
    end=st.integers(0, 400),
)
def test_no_half_of_an_escaped_secret_is_left_by_a_cut(layers, before, bytes_max, end):
    text = ("x" * before + " " + escaped(OURS, layers, [1])) * 40
    found, missing = cut(text[: len(text) - end], bytes_max, whole=False)
    assert missing
    assert not any("dk_" in layer or "aB3" in layer for layer in read(found))


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
    "text",
    [
        *("-" * 200_000, "a" * 200_000, "token=" * 30_000, "://:" * 50_000, "eyJ" * 70_000),
        *("\\" * 200_000, "\\u005c" * 33_000, r"\\n" * 66_000),
    ],
)
def test_it_is_quick_on_what_is_made_to_be_slow(text):
    """Ratios in the same run: ten times as much takes about ten times as long, not a hundred times."""
    text *= 200_000 // len(text)

    def took(part: str) -> float:
        best = 9.9
        for _ in range(3):
            began = time.process_time()
            redaction.redact(part)
            best = min(best, time.process_time() - began)
        return best

    assert took(text) < 60 * took(text[: len(text) // 10]) + 0.01


def test_keys_that_only_begin_take_little_longer_than_other_words():
    def took_s(kind):
        took = []
        for _ in range(3):
            begun = time.process_time()
            redaction.redact(kind * (100_000 // len(kind)))
            took.append(time.process_time() - begun)
        return min(took)

    begins = "-----BEGIN PRIVATE KEY-----"
    assert took_s(begins) < 12 * took_s("a")
    assert redaction.redact(f"{begins}abc\n{begins}def") == "[redacted]"
