"""Records as messages."""

import pytest
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st
from pantler_server.core import canonical_json
from pantler_server.core.record import Record
from pantler_server.origins.struct import NotARecord, to_record, to_struct

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False).map(canonical_json.number)
    | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON))
def test_a_record_comes_back_as_it_went(record: Record) -> None:
    message = Struct.FromString(to_struct(record).SerializeToString())
    back = to_record(message)
    assert canonical_json.encode(back) == canonical_json.encode(canonical_json.normal(record))


@pytest.mark.parametrize("wrong", [Value(number_value=float("nan")), Value()])
def test_a_message_that_is_no_record_is_refused(wrong: Value) -> None:
    message = Struct()
    message.fields["a"].struct_value.fields["b"].CopyFrom(wrong)
    with pytest.raises(NotARecord) as found:
        to_record(message)
    assert found.value.path == "record.a.b"
