"""The spool: whole records in order from any offset, whatever was torn, cut short or foreign."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashd.jail import spool

RECORDS = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=300)), max_size=8)


def written(folder: Path, records: list[tuple[int, bytes]]) -> bytes:
    here = os.open(folder, os.O_RDONLY)
    (folder / "spool").unlink(missing_ok=True)
    writer = spool.Writer(here, None)
    for stream, payload in records:
        writer.append(stream, payload)
    writer.sync()
    os.close(here)
    if not records:
        assert not (folder / "spool").exists()
        return b""
    os.close(writer.fd)
    assert writer.file_bytes == (folder / "spool").stat().st_size
    return (folder / "spool").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("launch")


@pytest.mark.slow
@given(records=RECORDS, bytes_max=st.integers(1, 2000))
def test_what_was_written_is_read_in_pieces_of_any_size(folder: Path, records, bytes_max: int):
    size = len(written(folder, records))
    read, offset = [], 0
    while True:
        piece, after = spool.read(folder, offset, bytes_max)
        if not piece:
            break
        assert after > offset
        assert len(piece) == 1 or after - offset <= bytes_max
        read, offset = read + piece, after
    assert (read, offset) == (records, size)


@pytest.mark.slow
@given(records=RECORDS, data=st.data())
def test_a_file_cut_at_any_byte_gives_the_whole_records_before_it(folder: Path, records, data):
    content = written(folder, records)
    cut = data.draw(st.integers(0, len(content)))
    (folder / "spool").write_bytes(content[:cut])
    read, offset = spool.read(folder, 0, 1 << 20)
    assert read == records[: len(read)]
    assert offset <= cut
    (folder / "spool").write_bytes(content)  # the rest arrives: go on from there
    rest, _ = spool.read(folder, offset, 1 << 20)
    assert read + rest == records


@pytest.mark.slow
@given(records=RECORDS, bytes_max=st.integers(0, 500), stream=st.sampled_from([None, 1, 2]))
def test_the_tail_is_the_end_of_the_payloads(folder: Path, records, bytes_max: int, stream: int | None):
    size = len(written(folder, records))
    everything = b"".join(payload for number, payload in records if stream in (None, number))
    expected = everything[-bytes_max:] if bytes_max else b""
    assert spool.tail(folder, bytes_max, stream) == (expected, size)


@pytest.mark.slow
@given(junk=st.binary(min_size=5, max_size=200))
def test_foreign_bytes_are_one_error_or_nothing(folder: Path, junk: bytes):
    (folder / "spool").write_bytes(junk)
    with contextlib.suppress(spool.SpoolCorrupt):
        records, after = spool.read(folder, 0, 1000)
        assert after == sum(5 + len(payload) for _, payload in records) <= len(junk)


@pytest.mark.parametrize("header", [b"\0\0\0\0\1x", b"\3\0\0\0\1x", b"\1\0\0\0\0x", b"\1\xff\0\0\0x"])
def test_a_header_that_no_writer_writes_is_corrupt(tmp_path: Path, header: bytes):
    (tmp_path / "spool").write_bytes(b"\1\0\0\0\2ok" + header)
    with pytest.raises(spool.SpoolCorrupt, match="offset 7"):
        spool.read(tmp_path, 0, 1000)


def test_no_file_is_an_empty_spool(tmp_path: Path):
    assert spool.read(tmp_path, 7, 100) == ([], 7)
    assert spool.tail(tmp_path, 100) == (b"", 0)


def test_the_limit_counts_payload_and_what_is_over_it(tmp_path: Path):
    here = os.open(tmp_path, os.O_RDONLY)
    writer = spool.Writer(here, 5)
    assert [writer.append(2, payload) for payload in (b"abc", b"defg", b"h")] == [True, True, False]
    assert (writer.payload_bytes, writer.dropped_bytes, writer.lost_bytes) == (5, 3, 0)
    assert spool.read(tmp_path, 0, 100)[0] == [(2, b"abc"), (2, b"de")]
    os.close(writer.fd)
    os.close(here)


def test_a_full_disk_drops_and_counts_and_nothing_follows_a_torn_record(tmp_path: Path):
    (tmp_path / "spool").symlink_to("/dev/full")  # its writes fail and it cannot be cut back either
    here = os.open(tmp_path, os.O_RDONLY)
    writer = spool.Writer(here, None)
    assert not writer.append(1, b"lost")
    assert not writer.append(1, b"lost too")
    assert (writer.file_bytes, writer.dropped_bytes, writer.lost_bytes) == (0, 12, 12)
    os.close(writer.fd)
    os.close(here)


def test_a_short_write_is_taken_back_and_the_next_record_is_whole(tmp_path: Path, monkeypatch):
    here = os.open(tmp_path, os.O_RDONLY)
    writer = spool.Writer(here, None)
    writer.append(1, b"before")
    write = os.write
    with monkeypatch.context() as disk_full:
        disk_full.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
        writer.append(1, b"cut short")
    writer.append(1, b"after")
    assert spool.read(tmp_path, 0, 1000)[0] == [(1, b"before"), (1, b"after")]
    assert (writer.dropped_bytes, writer.lost_bytes) == (9, 9)
    os.close(writer.fd)
    os.close(here)


def test_what_went_past_the_bound_keeps_the_end_of_each_stream(tmp_path: Path):
    here = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    writer = spool.Writer(here, 100)
    writer.append(spool.STDOUT, b"a" * 90)
    writer.append(spool.STDERR, b"b" * 200_000 + b"error")
    writer.append(spool.STDOUT, b"c" * 200_000 + b"result")
    writer.finish()
    assert spool.tail(tmp_path, 6, spool.STDOUT)[0] == b"result"
    assert spool.tail(tmp_path, 5, spool.STDERR)[0] == b"error"
    assert writer.payload_bytes == 100 + 2 * spool.PAYLOAD_BYTES_MAX
    assert writer.dropped_bytes + writer.payload_bytes == 90 + 200_005 + 200_006
    os.close(writer.fd)
    os.close(here)
