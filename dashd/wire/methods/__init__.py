"""The one method table: what can be called, with which parameters, and what comes back.

Dispatch, clients, MCP schemas and OpenRPC are all read from it. To add a method: its two structs and its
row in the noun's file here, a function of the same name in `service/<noun>s.py`, the SQL in
`store/<noun>s.py`, a test, and `python -m dashd.wire.openrpc` to renew `schema/openrpc.json`.
A mistake in the table stops the import.
"""

import re

import msgspec

from . import (
    agent,
    approval,
    audit,
    budget,
    daemon,
    event,
    gate,
    gateway,
    instance,
    key,
    merge,
    model,
    program,
    provider,
    rpc,
    session,
    swarm,
    task,
    worktree,
)
from .table import Method

_NOUNS = (
    daemon,
    swarm,
    agent,
    task,
    event,
    budget,
    provider,
    program,
    model,
    key,
    gate,
    gateway,
    instance,
    approval,
    audit,
    worktree,
    merge,
    session,
    rpc,
)
METHODS: dict[str, Method] = {method.name: method for noun in _NOUNS for method in noun.METHODS}
"""Every method by its wire name."""


def _check() -> None:
    count = 0
    for noun in _NOUNS:
        prefix = noun.__name__.rpartition(".")[2]
        for method in noun.METHODS:
            count += 1
            assert re.fullmatch(rf"{prefix}\.[a-z_]+", method.name), (
                f"{method.name} does not belong in {prefix}.py"
            )
            assert issubclass(method.params, msgspec.Struct), f"{method.name}: params must be a struct"
            assert method.params.__struct_config__.forbid_unknown_fields, (
                f"{method.name}: params must refuse unknown fields"
            )
            assert method.summary.endswith("."), f"{method.name}: the summary is a sentence"
    assert count == len(METHODS), "two methods share a name"


_check()
