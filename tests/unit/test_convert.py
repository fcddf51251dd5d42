"""What a batch answers whose items failed."""

import pytest
from google.rpc import code_pb2
from pantler_server.core.errors import OutcomeUnknown, StoreUnavailable
from pantler_server.servicers import convert

AWAY = StoreUnavailable("away", "cache")
UNKNOWN = OutcomeUnknown("lost", "cache")


def test_a_batch_whose_items_failed_alike_fails_as_a_whole() -> None:
    with pytest.raises(StoreUnavailable):
        convert.batch_set_response([AWAY, AWAY])


def test_no_item_is_said_to_be_undone_because_another_was() -> None:
    answer = convert.batch_set_response([AWAY, UNKNOWN])
    reasons = [outcome.error.message for outcome in answer.outcomes]
    assert reasons == ["away", "lost"]
    assert {outcome.error.code for outcome in answer.outcomes} == {code_pb2.UNAVAILABLE}


def test_a_batch_that_failed_in_part_answers_each_item() -> None:
    answer = convert.batch_delete_response([True, AWAY])
    assert answer.outcomes[0].deleted
    assert answer.outcomes[1].HasField("error")
