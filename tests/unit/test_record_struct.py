"""Records from Structs, and into them."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st
from pantler_server import record_struct
from pantler_server.core import canonical_json
from pantler_server.core.record import MAX_DEPTH
from pantler_server.servicers.convert_record import JSON_GROWTH

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical_json.MAX_EXACT + 1, canonical_json.MAX_EXACT - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
RECORDS = st.dictionaries(st.text(), VALUES)


def read(struct: Struct) -> tuple[dict[str, Any], list[str]]:
    violations: Any = []
    record = record_struct.read(struct, "fields", violations)
    return record, [one.path for one in violations]


@given(RECORDS)
def test_a_record_is_the_same_after_a_struct(record: dict[str, Any]) -> None:
    struct = Struct()
    record_struct.fill(struct, record)
    assert MessageToDict(struct) == record
    back, wrong = read(struct)
    assert not wrong
    assert canonical_json.encode(back) == canonical_json.encode(canonical_json.normal(record))


@given(RECORDS)
def test_no_record_is_longer_as_json_than_is_reckoned(record: dict[str, Any]) -> None:
    struct = Struct()
    record_struct.fill(struct, record)
    size = len(canonical_json.encode(read(struct)[0]))
    assert size <= len("{}") + JSON_GROWTH * struct.ByteSize()


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 10**400])
def test_a_whole_number_that_no_float_holds_is_text(number: int) -> None:
    struct = Struct()
    record_struct.fill(struct, {"n": number, "in": [{"n": number}]})
    assert read(struct) == ({"n": str(number), "in": [{"n": str(number)}]}, [])


def test_depth_is_bounded_where_it_stands() -> None:
    struct = Struct()
    inner = struct
    for _ in range(MAX_DEPTH + 5):
        inner = inner.fields["x"].struct_value
    inner.SetInParent()
    assert read(struct)[1] == ["fields" + ".x" * MAX_DEPTH]


def test_a_long_path_is_cut() -> None:
    struct = Struct()
    struct.fields["x" * 500].SetInParent()
    [path] = read(struct)[1]
    assert len(path) == 200


@given(RECORDS)
def test_a_record_comes_back_from_a_message_as_it_went(record: dict[str, Any]) -> None:
    message = Struct.FromString(record_struct.to_struct(record).SerializeToString())
    back = record_struct.to_record(message)
    assert canonical_json.encode(back) == canonical_json.encode(canonical_json.normal(record))


@pytest.mark.parametrize("wrong", [Value(number_value=float("nan")), Value()])
def test_a_message_that_is_no_record_is_refused(wrong: Value) -> None:
    message = Struct()
    message.fields["a"].struct_value.fields["b"].CopyFrom(wrong)
    with pytest.raises(record_struct.NotARecord) as found:
        record_struct.to_record(message)
    assert found.value.path == "record.a.b"
