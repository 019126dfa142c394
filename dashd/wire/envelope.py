"""JSON-RPC 2.0 messages: what a frame says, and how answers and notifications are written.

Decoding never raises: what is not a request comes back as `Refused`, with the error to answer and, where it
could be read, the id to answer to. Parameters stay raw until the method is known. A message is compact JSON
without its newline.
"""

import json
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from . import errors

BATCH_MAX: Final = 100
"""Requests in one batch."""
ID_CHARACTERS_MAX: Final = 256

Id: TypeAlias = Annotated[str, Meta(max_length=ID_CHARACTERS_MAX)] | int | None

NO_PARAMS: Final = Raw(b"{}")


class Request(msgspec.Struct, gc=False):
    """A call, or a notification where `id` is UNSET. `id: null` is a call that cannot be cancelled."""

    jsonrpc: Literal["2.0"]
    method: str
    params: Raw = NO_PARAMS
    id: Id | UnsetType = UNSET


class Refused(NamedTuple):
    """A message that is no request, and what to say about it."""

    id: Id
    error: errors.DashError


Message: TypeAlias = Request | Refused


class Incoming(msgspec.Struct, gc=False):
    """What a client receives: an answer (`id` with `result` or `error`) or a notification (`method`)."""

    jsonrpc: Literal["2.0"]
    id: Id | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw = NO_PARAMS


class _Answer(msgspec.Struct, kw_only=True):
    jsonrpc: Literal["2.0"] = "2.0"
    id: Id
    result: Any


class _Failure(msgspec.Struct, kw_only=True):
    jsonrpc: Literal["2.0"] = "2.0"
    id: Id
    error: dict[str, Any]


_request = msgspec.json.Decoder(Request)
_incoming = msgspec.json.Decoder(Incoming)
_batch = msgspec.json.Decoder(list[Raw])
_anything = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()

# RecursionError: a frame of brackets. UnicodeDecodeError (a ValueError): bytes that are not UTF-8.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(frame: bytes) -> Message | list[Message]:
    """The request in a frame, or the 1 to BATCH_MAX messages of a batch."""
    try:
        return _request.decode(frame)
    except _UNREADABLE as error:
        if frame.lstrip()[:1] == b"[":
            return _decode_batch(frame)
        return _explain(frame, error)


def decode_incoming(frame: bytes) -> Incoming:
    """What a daemon sent. Raises InvalidRequest where it is not JSON-RPC."""
    try:
        return _incoming.decode(frame)
    except _UNREADABLE as error:
        raise errors.InvalidRequest(f"dashd sent what is not JSON-RPC 2.0: {error}") from error


def encode_request(method: str, params: object, id: Id | UnsetType = UNSET) -> bytes:  # noqa: A002
    """A call, or a notification without an id; `params` is a struct, a dict or Raw."""
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    if id is UNSET:
        del message["id"]
    return _encoder.encode(message)


def encode_result(id: Id, result: object) -> bytes:  # noqa: A002
    """The answer of a call that succeeded. Raises TypeError or ValueError where it cannot be JSON."""
    return _encoder.encode(_Answer(id=id, result=result))


def encode_error(id: Id, error: errors.DashError) -> bytes:  # noqa: A002
    """The answer of a call that failed; always possible, whatever the error carries."""
    try:
        return _encoder.encode(_Failure(id=id, error=error.to_wire()))
    except (TypeError, ValueError, RecursionError):
        # A lone surrogate in a message, or details that are not JSON: say what can be said, escaped.
        wire = error.to_wire()
        wire["data"].pop("details", None)
        return json.dumps({"jsonrpc": "2.0", "id": id, "error": wire}).encode()


def join_batch(answers: list[bytes]) -> bytes:
    """The one array that answers a batch."""
    return b"[" + b",".join(answers) + b"]"


def _decode_batch(frame: bytes) -> Message | list[Message]:
    try:
        parts = _batch.decode(frame)
    except _UNREADABLE as error:
        return _explain(frame, error)
    if not parts:
        return Refused(None, errors.InvalidRequest("The batch is empty.", hint="Send at least one request."))
    if len(parts) > BATCH_MAX:
        return Refused(
            None,
            errors.InvalidRequest(
                f"The batch has {len(parts)} requests; at most {BATCH_MAX} are allowed.",
                hint="Send it in several batches, or one request a line without a batch.",
            ),
        )
    return [_decode_part(part) for part in parts]


def _decode_part(part: Raw) -> Message:
    try:
        return _request.decode(part)
    except _UNREADABLE as error:
        return _explain(part, error)


def _explain(message: bytes | Raw, error: Exception) -> Refused:
    if isinstance(error, RecursionError):
        return Refused(None, errors.ParseFailed("The JSON is nested too deep.", hint=_FLAT))
    if isinstance(error, UnicodeDecodeError):
        return Refused(None, errors.ParseFailed("The frame is not valid UTF-8.", hint=_LINE))
    try:
        seen = _anything.decode(message)
    except _UNREADABLE as unreadable:
        return Refused(
            None,
            errors.ParseFailed(
                f"The frame is not valid JSON: {_lower(unreadable)}.",
                hint=_LINE,
            ),
        )
    if not isinstance(seen, dict):
        return Refused(None, errors.InvalidRequest("A request is a JSON object.", hint=_EXAMPLE))
    return Refused(_readable_id(seen.get("id")), errors.InvalidRequest(_fault(seen), hint=_EXAMPLE))


_LINE: Final = "One complete JSON object a line, UTF-8, ended by a newline."
_FLAT: Final = "No method takes such parameters; rpc.discover says what each takes."
_EXAMPLE: Final = 'For example {"jsonrpc": "2.0", "id": 1, "method": "daemon.ping", "params": {}}.'


def _readable_id(seen: object) -> Id:
    if isinstance(seen, str) and len(seen) <= ID_CHARACTERS_MAX:
        return seen
    return seen if isinstance(seen, int) and not isinstance(seen, bool) else None


def _fault(seen: dict[str, Any]) -> str:
    if seen.get("jsonrpc") != "2.0":
        return '`jsonrpc` must be "2.0".'
    if "method" not in seen:
        return "`method` is missing."
    if not isinstance(seen["method"], str):
        return "`method` must be a string."
    return f"`id` must be a string of at most {ID_CHARACTERS_MAX} characters, an integer or null."


def _lower(error: Exception) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return text[:1].lower() + text[1:]
