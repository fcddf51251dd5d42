"""What batches of records answer whose items failed."""

import pytest
from pantler.v1 import record_pb2
from pantler_server.core.errors import (
    FieldViolation,
    InvalidFields,
    OriginUnavailable,
    RecordMissing,
    ServiceError,
)
from pantler_server.engines.cache.record.model import Durability, Found, Read, Source, Written
from pantler_server.servicers import convert_record as convert

AWAY = OriginUnavailable("away", "users")
WRITTEN = Written(Durability.WRITTEN, 7)


def wrong(path: str) -> InvalidFields:
    return InvalidFields([FieldViolation(path, "is wrong")])


def test_a_batch_whose_items_failed_for_one_reason_fails_as_a_whole() -> None:
    for answer in (
        convert.batch_get_records_response,
        convert.batch_get_response,
        convert.batch_put_records_response,
    ):
        with pytest.raises(OriginUnavailable):
            answer([AWAY, OriginUnavailable("away", "users")])


def test_what_is_said_of_one_record_stays_with_it() -> None:
    failed: list[Written | ServiceError] = [RecordMissing("a"), RecordMissing("b")]
    answer = convert.batch_put_records_response(failed)
    said = [outcome.error.message for outcome in answer.outcomes]
    assert [message.split(":")[0] for message in said] == [
        "there is no record 'a'",
        "there is no record 'b'",
    ]


def test_wrong_fields_are_named_as_the_request_has_them() -> None:
    with pytest.raises(InvalidFields) as puts:
        convert.batch_put_records_response([wrong("key"), wrong("fields.age")])
    assert [one.path for one in puts.value.violations] == ["writes[0].key", "writes[1].fields.age"]
    for answer in (convert.batch_get_records_response, convert.batch_get_response):
        with pytest.raises(InvalidFields) as gets:
            answer([wrong("key"), wrong("key")])
        assert [one.path for one in gets.value.violations] == ["keys[0]", "keys[1]"]


def test_a_batch_that_failed_in_part_answers_each_item() -> None:
    puts = convert.batch_put_records_response([wrong("fields.age"), WRITTEN, AWAY])
    assert [one.WhichOneof("outcome") for one in puts.outcomes] == ["error", "put", "error"]
    read = Read(Found(b"{}", Source.ORIGIN, stale=True), {})
    gets = convert.batch_get_records_response([read, AWAY])
    assert [one.WhichOneof("outcome") for one in gets.outcomes] == ["found", "error"]
    found = gets.outcomes[0].found
    assert (found.source, found.stale) == (record_pb2.SOURCE_ORIGIN, True)
    assert found.HasField("record"), "a record without fields is one too"


def test_a_record_that_is_not_cached_has_no_version_and_no_times() -> None:
    entry = convert.get_response(Found(b"{}", Source.ORIGIN)).hit.entry
    assert (entry.value, entry.content_type, entry.version) == (b"{}", "application/json", 0)
    assert not entry.HasField("create_time")
    assert not entry.HasField("expire_time")
