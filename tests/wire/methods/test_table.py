"""What every row of the table keeps."""

import msgspec
import pytest

from dashd.wire import methods
from dashd.wire.methods import table

ROWS = sorted(methods.METHODS.values(), key=lambda row: row.name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_typed_strict_and_named(row):
    assert row.name in methods.METHODS
    assert row.params.__struct_config__.forbid_unknown_fields
    assert row.params.__doc__
    assert row.result.__doc__
    assert not row.destructive or row.changes, "what destroys changes"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_text_and_list_a_caller_sends_is_bounded(row):
    def unbounded(kind):
        if isinstance(kind, msgspec.inspect.StrType) and kind.max_length is None:
            return True
        if isinstance(kind, msgspec.inspect.StructType):
            return any(unbounded(field.type) for field in kind.fields)
        if isinstance(kind, msgspec.inspect.UnionType):
            return any(unbounded(each) for each in kind.types)
        return isinstance(kind, msgspec.inspect.ListType) and unbounded(kind.item_type)

    assert not unbounded(msgspec.inspect.type_info(row.params))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_whole_number_a_caller_sends_fits_into_the_store(row):
    def unbounded(kind):
        if isinstance(kind, msgspec.inspect.IntType):
            return (kind.ge is None and kind.gt is None) or kind.le is None or kind.le > 2**63 - 1
        if isinstance(kind, msgspec.inspect.StructType):
            return any(unbounded(field.type) for field in kind.fields)
        if isinstance(kind, msgspec.inspect.UnionType):
            return any(unbounded(each) for each in kind.types)
        return isinstance(kind, msgspec.inspect.ListType) and unbounded(kind.item_type)

    assert not unbounded(msgspec.inspect.type_info(row.params))


def test_a_list_is_of_20_and_100_at_most():
    for row in ROWS:
        if (
            row.name.endswith(".list")
            and row.name != "event.list"
            and "limit" in row.params.__struct_fields__
        ):
            (limit,) = [each for each in msgspec.inspect.type_info(row.params).fields if each.name == "limit"]
            assert (limit.default, limit.type.ge, limit.type.le) == (20, 1, 100), row.name


def test_a_key_is_taken_only_where_something_changes():
    for row in ROWS:
        assert row.changes or "idempotency_key" not in row.params.__struct_fields__, row.name


def test_levels_are_in_the_order_of_service():
    assert table.PRIORITIES == ("critical", "high", "medium", "low")


def test_limits_have_the_promised_bounds():
    limits = msgspec.json.decode(b"{}", type=table.Limits)
    assert (limits.timeout_s, limits.retries) == (300.0, 3)
    for wrong in (b'{"timeout_s":0}', b'{"timeout_s":3601}', b'{"retries":11}', b'{"retries":-1}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=table.Limits)
