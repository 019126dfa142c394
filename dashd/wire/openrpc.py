"""The OpenRPC document, from the one method table; `python -m dashd.wire.openrpc` renews the file of it.

https://spec.open-rpc.org 1.3. Nothing is written by hand here, so the document cannot disagree with the door.
"""

import functools
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from . import errors, methods
from .methods import table

OPENRPC: Final = "1.3.2"
API_VERSION: Final = "0.1.0"
PATH: Final = Path(__file__).parents[2] / "schema" / "openrpc.json"
"""Where a checkout keeps it."""
_REFERENCE: Final = "#/components/schemas/{name}"


@functools.cache
def document() -> dict[str, Any]:
    """The whole document; do not change what you get."""
    rows = sorted(methods.METHODS.values(), key=lambda row: row.name)
    types = [type_ for row in rows for type_ in (row.params, row.result)]
    _schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    return {
        "openrpc": OPENRPC,
        "info": {
            "title": "Dash",
            "version": API_VERSION,
            "description": "JSON-RPC 2.0 over dashd's Unix socket, one JSON object a line, params by name.",
            "license": {"name": "MIT"},
        },
        "methods": [_method(row, components) for row in rows],
        "components": {"schemas": dict(sorted(components.items())), "errors": _errors()},
    }


@functools.cache
def encoded() -> msgspec.Raw:
    """The document as compact JSON."""
    return msgspec.Raw(msgspec.json.encode(document()))


def written() -> bytes:
    """The document as the file in `schema/` holds it."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


def _method(row: table.Method, components: dict[str, Any]) -> dict[str, Any]:
    own = components[row.params.__name__]
    required = set(own.get("required", []))
    return {
        "name": row.name,
        "summary": row.summary,
        "description": (row.params.__doc__ or "").strip(),
        "tags": [{"name": row.name.partition(".")[0]}],
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": schema}
            for name, schema in own.get("properties", {}).items()
        ],
        "result": {
            "name": row.result.__name__,
            "schema": {"$ref": _REFERENCE.format(name=row.result.__name__)},
        },
        "x-changes": row.changes,
        "x-destructive": row.destructive,
        "x-idempotent": row.idempotent,
    }


def _errors() -> dict[str, Any]:
    """One per code; `data.kind` tells the classes of a code apart."""
    found: dict[int, type[errors.DashError]] = {}
    for kind in errors.BY_KIND.values():
        found.setdefault(kind.code, kind)
    return {
        kind.__name__: {
            "code": code,
            "message": (kind.__doc__ or "").partition("\n")[0],
            "data": {"category": kind.category, "retryable": kind.retryable},
        }
        for code, kind in sorted(found.items())
        if kind is not errors.DashError
    }


def main() -> int:
    """Renew the file in `schema/`."""
    PATH.write_bytes(written())
    return 0


if __name__ == "__main__":
    sys.exit(main())
