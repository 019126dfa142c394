"""No secret is put on record, whatever a parameter is called."""

import re
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.service.redaction import TEXT_CHARS_MAX, masked, redacted
from dashd.wire import methods

CANARY = "sk-live-51HxCANARY0000aaaaBBBBcccc1234"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from (name, *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@pytest.mark.parametrize("name", [name for name, row in methods.METHODS.items() if row.changes])
def test_no_parameter_of_any_method_lets_a_key_through(name):
    """Each text of each mutating method holds the canary, bare and inside of other text."""
    params = methods.METHODS[name].params
    Given = msgspec.defstruct("Given", [(field, object) for field in params.__struct_fields__])
    for text in (CANARY, f"curl -H 'Authorization: Bearer {CANARY}'"):
        for value in (text, [text], {text: text}, {"a": [text]}):
            given = Given(*[value for _ in params.__struct_fields__])
            assert not [each for each in strings(redacted(given)) if "CANARY" in each]


def test_what_is_kept():
    class Given(msgspec.Struct):
        swarm: str = "abc"
        usd: float = 1.5
        argv: list = msgspec.field(default_factory=lambda: ["a", "b"])
        task: str = "hunter2"
        secret: str = "hunter2"
        secret_command: list = msgspec.field(default_factory=lambda: ["pass", "hunter2"])
        idempotency_key: str = "hunter2"
        key: str = "dk_live_hunter2hunter2"
        limits: dict = msgspec.field(default_factory=lambda: {"retries": 1, "x": "y"})
        new_one: str = "hunter2"
        none: None = None
        approvals: list = msgspec.field(default_factory=lambda: ["a"] * 30)

    assert redacted(Given()) == {
        "swarm": "abc",
        "key": "[looks like a key]",
        "usd": 1.5,
        "argv": "[2 entries]",
        "task": "[7 characters]",
        "limits": {"retries": 1, "x": "y"},
        "new_one": "[7 characters]",
        "none": None,
        "approvals": ["a"] * 20 + ["… 30 entries in all"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "7k2m9q-003.1",
        "claude-opus-4-5 -> cheap",
        "src/auth/",
        "operator:uid-1000",
        "a" * 40,
        "2026-11-20T10:00:00.123Z",
    ],
)
def test_names_and_ids_stay(text):
    assert masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "ghp_abcdefgh12345678",
        "dash_ab_0123456789abcdef",
        "dk_live_abcdefgh",
        "deadbee5" * 8,
        "AKIA12345678ABCD",
    ],
)
def test_keys_go(text):
    assert text not in masked(f"x {text} y")


@given(st.text(max_size=400))
def test_it_never_grows_without_end(text):
    assert len(masked(text)) <= 200 + len("… [400 characters]") + 20


PLAINLY = re.compile(
    r"(?:sk-|dk_live_|dk_test_|dash_|gh[a-z]_|github_pat_|xox[a-z]-|AKIA|AIza|eyJ|Bearer\s+)[\w.~+/=-]{8,}"
    r"|(?<![\w/.-])(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{32,}"
)
PIECES = ["a" * 31, "a1" * 16, "1" * 9, "=", "+", "-", "/", ".", " ", "sk-", "abcdefgh", "Bearer ", "x"]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_a_key_is_found_as_in_a_plain_pattern(text):
    left = PLAINLY.sub("[looks like a key]", text)
    cut = f"{left[:TEXT_CHARS_MAX]}… [{len(left)} characters]"
    assert masked(text) == (left if len(left) <= TEXT_CHARS_MAX else cut)


@pytest.mark.parametrize("kind", ["a=", "a+", "/a=", "=", "a", "1", "a1/", "sk-", "Bearer "])
def test_it_takes_no_longer_than_the_text(kind):
    def took_s(count):
        took = []
        for _ in range(3):
            begun = time.process_time()
            masked(kind * (count // len(kind)))
            took.append(time.process_time() - begun)
        return min(took)

    assert took_s(16_000) < 30 * max(took_s(2_000), 1e-4)
