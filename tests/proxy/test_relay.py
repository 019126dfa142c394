"""One try against an upstream made of a list: what is passed on when, and what each end is called."""

from collections.abc import Mapping

import pytest
import trio

from dashd.proxy import relay
from dashd.proxy.caller import Patience
from dashd.proxy.formats import FORMATS
from dashd.proxy.ledger import Held
from dashd.proxy.prices import OFFLINE_PRICE
from dashd.proxy.registry import Candidate, Provider
from dashd.proxy.relay import FIRST_BYTES_MAX, Outcome, Try
from dashd.proxy.upstream import Answer, Request, UpstreamBroken

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
USED = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n'
END = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"type":"overloaded_error"}}\n\n'
WHOLE = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}'
BREAK = b"<break>"
STALL = b"<stall>"
PATIENCE = Patience(first_byte_s=10, whole_s=20, idle_s=5, total_s=100)


class Listed:
    """An upstream and its answer: pieces, breaks and stalls."""

    def __init__(self, *pieces: bytes, status: int = 200) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "x/y", "set-cookie": "no"}
        self.pieces = list(pieces)
        self.closed = False

    async def send(self, request: Request) -> Answer:
        request.sent = True
        await trio.lowlevel.checkpoint()
        return self

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        piece = self.pieces.pop(0) if self.pieces else b""
        if piece == BREAK:
            raise UpstreamBroken("broke")
        if piece == STALL:
            await trio.sleep_forever()
        return piece

    async def aclose(self) -> None:
        self.closed = True


class Seen:
    """What the caller got."""

    def __init__(self) -> None:
        self.data = b""
        self.begun: Mapping[str, str] | None = None
        self.answers = 0

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        assert status == 200
        self.begun = headers

    async def forward(self, data: bytes) -> None:
        self.data += data

    def answered(self) -> None:
        self.answers += 1


async def run(upstream: Listed, *, stream: bool = True, url: str = "") -> tuple[Outcome, Seen, Try]:
    candidate = Candidate(Provider("p", "openai-chat", url), "m", OFFLINE_PRICE, 100)
    meter = FORMATS["openai-chat"].meter(OFFLINE_PRICE, 900_000, 100, 500)
    request = Request("p", "openai-chat", "", {}, b"{}", stream)
    trying = Try(candidate, Held(1, 900_000, 100, 500), request, meter, PATIENCE)
    seen = Seen()
    outcome = await trying.run(upstream, seen.begin, seen.forward, seen.answered)
    assert upstream.closed
    return outcome, seen, trying


async def test_a_stream_is_passed_on_byte_for_byte(autojump_clock: trio.testing.MockClock):
    outcome, seen, trying = await run(Listed(ROLE[:9], ROLE[9:] + WORD[:4], WORD[4:], USED, END))
    assert outcome == Outcome()
    assert seen.data == ROLE + WORD + USED + END
    assert seen.begun == {"content-type": "x/y"}
    assert seen.answers == 1
    assert trying.settlement.basis == "usage"


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((ERROR,), "overloaded_error"),
        ((ROLE[:20], BREAK), "broke"),
        ((ROLE[:20], STALL), "stalled"),
        ((b"\n\n", STALL), "stalled"),
        ((b"\n\n",), "empty"),
        ((), "empty"),
        ((BREAK,), "broke"),
    ],
)
async def test_nothing_is_passed_on_of_a_stream_that_begins_badly(
    autojump_clock: trio.testing.MockClock, pieces: tuple[bytes, ...], why: str
):
    outcome, seen, trying = await run(Listed(*pieces))
    assert outcome.failure is not None
    assert outcome.failure.what == "retry"
    assert why in outcome.failure.why
    assert (seen.begun, seen.data, seen.answers) == (None, b"", 0)
    assert trying.first_byte_at is None
    assert trying.settlement == type(trying.settlement)(900_000, 500, "worst-case")


async def test_a_stream_that_breaks_later_is_a_failure_after_what_was_passed_on(
    autojump_clock: trio.testing.MockClock,
):
    for ending in (BREAK, STALL):
        outcome, seen, trying = await run(Listed(ROLE, WORD, ending))
        assert outcome.failure is not None
        assert seen.data == ROLE + WORD
        assert trying.settlement.basis == "worst-case"


async def test_an_answer_in_one_piece_is_handed_back_and_not_passed_on(
    autojump_clock: trio.testing.MockClock,
):
    outcome, seen, trying = await run(Listed(WHOLE[:30], WHOLE[30:]), stream=False)
    assert outcome.whole is not None
    assert (outcome.whole.body, outcome.whole.headers) == (WHOLE, {"content-type": "x/y"})
    assert (seen.begun, seen.answers) == (None, 1)
    assert trying.settlement.basis == "usage"
    cut, _, _ = await run(Listed(WHOLE[:30], BREAK), stream=False)
    assert cut.failure is not None
    assert cut.whole is None


async def test_an_error_status_is_judged_with_its_words(autojump_clock: trio.testing.MockClock):
    body = b'{"error":{"type":"invalid_request_error"}}'
    outcome, seen, trying = await run(Listed(body, status=400))
    assert outcome.failure is not None
    assert outcome.whole is not None
    assert (outcome.failure.what, outcome.whole.status, outcome.whole.body) == ("final", 400, body)
    assert seen.begun is None
    assert trying.settlement.basis == "rejected"
    elsewhere, _, _ = await run(Listed(status=302))
    assert elsewhere.failure is not None
    assert elsewhere.failure.what == "next"


async def test_a_first_event_without_end_is_not_kept_for_ever(autojump_clock: trio.testing.MockClock):
    outcome, seen, _ = await run(Listed(b"data: " + b"x" * FIRST_BYTES_MAX, b"y", BREAK))
    assert outcome.failure is not None
    assert seen.data.endswith(b"xy")


def test_a_key_that_a_provider_repeats_is_not_passed_on():
    assert relay.without_secret(b"not sk-1: sk-1", "sk-1") == b"not ***: ***"
    assert relay.without_secret(b"as it is", None) == b"as it is"
    escaped = rb'{"error": "not ab\/c\u002B1\u003d"}' + b"\xff"
    assert relay.without_secret(escaped, "ab/c+1=") == b'{"error": "not ***"}\xff'


TOO_LONG = b'{"error":{"code":"context_length_exceeded","message":"too long"}}'


@pytest.mark.parametrize(
    ("url", "cost"),
    [("https://x.openai.azure.com/v1", 900_000), ("https://azure.com.example/v1", 0), ("", 0)],
)
async def test_what_azure_refuses_as_too_long_it_bills(url, cost):
    _, _, trying = await run(Listed(TOO_LONG, status=400), url=url)
    assert trying.settlement.cost_nusd == cost


@pytest.mark.parametrize("stream", [True, False])
async def test_what_no_header_of_ours_can_carry_is_left_out(
    autojump_clock: trio.testing.MockClock, stream: bool
):
    """h11 takes such letters from a provider, and refuses to send them."""
    upstream = Listed(*([ROLE, WORD, USED, END] if stream else [WHOLE]))
    upstream.headers = {"content-type": "x/y", "x-request-id": "numéro", "request-id": "a\tb"}
    outcome, seen, _ = await run(upstream, stream=stream)
    passed_on = seen.begun if outcome.whole is None else outcome.whole.headers
    assert passed_on == {"content-type": "x/y"}
