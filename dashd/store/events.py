"""Table `event`, read side; the writer inserts (invariant 2). Bodies are events as they go over the wire."""

import apsw

from dashd.wire.events import Filter

from . import rows

_PAGE_ROWS_MAX = 1_000
_q_page = "SELECT seq, kind, swarm, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
_q_page_of_swarm = (
    "SELECT seq, kind, swarm, body FROM event WHERE swarm = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"
)


def after(
    db: apsw.Connection, since: int, wanted: Filter, limit: int, last: int
) -> tuple[list[bytes], int, bool]:
    """(bodies, cursor, more): at most `limit` events with since < seq <= last that pass the filter.

    `cursor` is how far was read, so that a filter that lets nothing through does not read the same again.
    """
    found: list[bytes] = []
    cursor = since
    while cursor < last:
        page = _page(db, cursor, wanted.swarm)
        for seq, kind, swarm, body in page:
            if seq > last:
                break
            if wanted.wants(kind, swarm):
                if len(found) == limit:
                    return found, cursor, True
                found.append(body.encode())
            cursor = seq
        else:
            if len(page) == _PAGE_ROWS_MAX:
                continue
        break
    return found, last, False


def _page(db: apsw.Connection, since: int, swarm: str | None) -> list[tuple[int, str, str | None, str]]:
    if swarm is None:
        return rows.table(db, _q_page, (since, _PAGE_ROWS_MAX))
    return rows.table(db, _q_page_of_swarm, (since, _PAGE_ROWS_MAX, swarm))
