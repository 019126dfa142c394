"""Session files of Pi's: of a real run, torn, hostile, and cut at every step."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.domain.session_tree import BYTES_MAX, NotASession
from dashd.drivers.pi_transcript import PiTranscript

AT_MS = 1_795_957_961_033
HEADER = {"type": "session", "version": 3, "id": "dash", "timestamp": "2026-11-29T13:12:40.195Z", "cwd": "/w"}


def entry(node_id, parent, role, content, **more):
    return {
        "type": "message",
        "id": node_id,
        "parentId": parent,
        "timestamp": "2026-11-29T13:12:41.033Z",
        "message": {"role": role, "content": content} | more,
    }


ENTRIES = (
    {"type": "model_change", "id": "8a9118ec", "parentId": None, "provider": "dash", "modelId": "m-1"},
    entry("8b60f265", "8a9118ec", "system", ""),
    entry("c81e207b", "8b60f265", "user", [{"type": "text", "text": "do it\u2028now"}]),
    entry(
        "77643750", "c81e207b", "assistant", [{"type": "toolCall", "id": "call_1", "name": "bash"}], stop="x"
    ),
    entry("2d27aae3", "77643750", "toolResult", [{"type": "text", "text": "hi"}], toolCallId="call_1"),
    {"type": "compaction", "id": "5c5c5c5c", "parentId": "2d27aae3", "summary": "It was done."},
    entry("bfc382a1", "c81e207b", "assistant", [{"type": "text", "text": "no"}]),
)


def file(*entries, header=HEADER):
    return b"".join(json.dumps(each).encode() + b"\n" for each in (header, *entries))


def test_it_reads_as_a_tree():
    tree = PiTranscript(file(*ENTRIES)).tree
    assert [(depth, node.role, node.text) for depth, node in tree.spoken()] == [
        (0, "user", "do it\u2028now"),
        (1, "assistant", "bash"),
        (1, "tool", "hi"),
        (1, "summary", "It was done."),
        (1, "assistant", "no"),
    ]
    assert tree.leaf == "bfc382a1"
    assert tree.nodes["2d27aae3"].at_ms == AT_MS
    assert (tree.nodes["77643750"].calls, tree.nodes["2d27aae3"].answers) == (("call_1",), "call_1")


def test_cut_at_a_step_it_holds_the_way_there_to_the_letter():
    whole = file(*ENTRIES)
    cut = PiTranscript(whole).cut("2d27aae3", session_id="new", cwd="/other", at_ms=AT_MS)
    header, *lines = cut.splitlines()
    assert json.loads(header) == HEADER | {
        "id": "new",
        "cwd": "/other",
        "timestamp": "2026-11-29T13:12:41.033Z",
    }
    assert lines == whole.split(b"\n")[1:6]
    assert PiTranscript(cut).tree.leaf == "2d27aae3"


def test_a_cut_names_no_file_of_the_old_jail():
    old = file(*ENTRIES, header=HEADER | {"parentSession": "/home/agent/old.jsonl"})
    assert b"parentSession" not in PiTranscript(old).cut("c81e207b", session_id="n", cwd="/", at_ms=0)


@given(st.integers(0, len(file(*ENTRIES))))
def test_torn_anywhere_it_is_what_was_whole(at):
    torn = file(*ENTRIES)[:at]
    whole = torn.count(b"\n")
    if not whole:
        with pytest.raises(NotASession):
            PiTranscript(torn)
        return
    assert len(PiTranscript(torn).tree.nodes) == whole - 1


@given(st.lists(st.binary(max_size=40) | st.sampled_from([json.dumps(each).encode() for each in ENTRIES])))
def test_no_line_of_a_hostile_file_is_an_error(lines):
    tree = PiTranscript(file() + b"\n".join(lines) + b"\n").tree
    for node_id in tree.nodes:
        PiTranscript(file() + b"\n".join(lines) + b"\n").cut(node_id, session_id="n", cwd="/", at_ms=0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not the header"),
        (b"garbage\n", "not the header"),
        (file(header={"type": "message"}), "not the header"),
        (file(header=HEADER | {"version": 4}), "its version is 4, not 3"),
        (b"\0" * (BYTES_MAX + 1), "more than"),
    ],
)
def test_what_is_no_session_says_why(data, why):
    with pytest.raises(NotASession, match=why):
        PiTranscript(data)


@pytest.mark.parametrize("version", ["\0" * 600_000, ["\0" * 600_000], {"a": [[]] * 100_000}, 1e300, None])
def test_whatever_its_version_is_said_in_few_words(version):
    with pytest.raises(NotASession, match=r"its version is .*, not 3") as refused:
        PiTranscript(file(header=HEADER | {"version": version}))
    assert len(str(refused.value)) < 200


def test_a_step_that_nobody_could_name_is_none():
    long = entry("x" * 101, "c81e207b", "user", "a")
    tree = PiTranscript(file(*ENTRIES, long, entry("after", "x" * 101, "user", "b"))).tree
    assert "x" * 101 not in tree.nodes
    assert tree.nodes["after"].parent is None


def test_what_nests_as_deep_as_can_be_read_is_no_fault() -> None:
    """However deep the stack is when it is read: a depth that decodes is not made into words."""
    header = b'{"type":"session","version":3,"id":"dash","timestamp":"2026-11-29T00:00:00.000Z","cwd":"/w"}'
    lines = [header]
    for depth in range(850, 1_010):
        deep = '{"a":' * depth + "1" + "}" * depth
        for field in ("timestamp", "summary"):
            entry = f'{{"type":"compaction","id":"{field}{depth}","parentId":null,"{field}":{deep}}}'
            lines.append(entry.encode())
    found = PiTranscript(b"\n".join(lines) + b"\n")
    assert len(found.tree.nodes) > 100
