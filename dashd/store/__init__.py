"""The only place that talks to SQLite: `open_store` gives a writer, a reader, the event tail and the bells.

A mutation is one synchronous function `operation(tx)` given to `Writer.apply`: it runs on the writer thread
inside its own savepoint, and is acknowledged after the COMMIT of the batch it was in. A read is one
synchronous function `query(connection)` given to `Reader.read`: it sees one consistent snapshot. Events that
operations emit reach the tail, and bells ring, only after COMMIT. Each noun's SQL lives in its own file here.
"""

from dashd.store.bells import Bell, Bells
from dashd.store.migrations import SchemaRefused
from dashd.store.opening import Store, open_store
from dashd.store.reader import Reader
from dashd.store.tail import Batch, Committed, Tail
from dashd.store.transaction import Operation, Tx
from dashd.store.writer import Writer

__all__ = [
    "Batch",
    "Bell",
    "Bells",
    "Committed",
    "Operation",
    "Reader",
    "SchemaRefused",
    "Store",
    "Tail",
    "Tx",
    "Writer",
    "open_store",
]
