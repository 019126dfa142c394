"""Table `model`: what the operator says of models, over what the price list says."""

import msgspec

from . import rows
from .rows import Snapshot, columns, placeholders
from .transaction import Tx


class ModelRow(msgspec.Struct, frozen=True):
    """Table `model`; prices are nano-dollars a token."""

    name: str
    provider: str | None
    input_nusd: int | None
    output_nusd: int | None
    context_tokens: int | None
    output_tokens_max: int | None
    aliases: str
    capabilities: str
    set_at_ms: int


_COLUMNS = columns(ModelRow)
_q_all = f"SELECT {_COLUMNS} FROM model ORDER BY rowid"
_q_one = f"SELECT {_COLUMNS} FROM model WHERE name = ?"
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in ModelRow.__struct_fields__[1:])
_q_put = (
    f"INSERT INTO model ({_COLUMNS}) VALUES ({placeholders(ModelRow)})"
    f" ON CONFLICT (name) DO UPDATE SET {_UPDATES}"
)


def every(db: Snapshot) -> list[ModelRow]:
    """All of them, oldest first."""
    return rows.every(ModelRow, db, _q_all)


def find(db: Snapshot, name: str) -> ModelRow | None:
    """What was said of one model."""
    return rows.first(ModelRow, db, _q_one, (name,))


def put(tx: Tx, row: ModelRow) -> None:
    """Keeps what is said of a model instead of what was said before."""
    tx.execute(_q_put, msgspec.structs.astuple(row))


def names(text: str) -> tuple[str, ...]:
    """A column of JSON names."""
    return msgspec.json.decode(text, type=tuple[str, ...])
