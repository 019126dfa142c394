"""A demonstration's stage: a bill that stays, outages that are made, and no real provider beside it."""

import json
from pathlib import Path

import pytest

from dashd.domain.prices import Usage
from dashd.proxy.offline import Billed
from dashd.proxy.stage import Stage
from dashd.proxy.upstream import UpstreamBroken
from dashd.wire import errors

LINE = Billed("offline", "a.py", Usage(10, 0, 0, 2), 18_000)


def test_the_bill_is_there_with_the_line_and_is_written_on_by_the_next(tmp_path: Path) -> None:
    first = Stage(tmp_path)
    first.bill(LINE)
    assert len((tmp_path / "bill.jsonl").read_text().splitlines()) == 1  # nobody had to close anything
    second = Stage(tmp_path)
    second.bill(LINE)
    lines = [json.loads(line) for line in (tmp_path / "bill.jsonl").read_text().splitlines()]
    assert [(line["provider"], line["item"], line["nusd"]) for line in lines] == [
        ("offline", "a.py", 18_000)
    ] * 2
    assert lines[0]["usage"] == {"input": 10, "cache_read": 0, "cache_write": 0, "output": 2}
    for each in (first, second):
        each.close()


def test_a_provider_is_down_while_its_mark_is_there(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert not stage.is_down("offline")
    mark = tmp_path / "down" / "offline"
    mark.parent.mkdir()
    mark.touch()
    assert stage.is_down("offline")
    assert not stage.is_down("offline-b")
    mark.unlink()
    assert not stage.is_down("offline")
    stage.close()


def test_what_cannot_be_billed_is_not_answered(tmp_path: Path) -> None:
    (tmp_path / "bill.jsonl").symlink_to("/dev/full")
    stage = Stage(tmp_path)
    with pytest.raises(UpstreamBroken, match="billing: No space left"):
        stage.bill(LINE)
    stage.close()


def test_it_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidParams, match="No such file") as refused:
        Stage(tmp_path / "typo")
    assert "leave it out" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_it_refuses_real_providers_and_says_which(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.refuse_real([])
    with pytest.raises(errors.Conflict, match="real providers: openai, two"):
        stage.refuse_real(["openai", "two"])
    stage.close()
