"""The origin that is a service, against a real one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct
from pantler.origin.v1 import origin_pb2
from pantler_server.core import canonical_json
from pantler_server.core.errors import (
    InvalidFields,
    OriginNotReady,
    OriginOutcomeUnknown,
    OriginUnavailable,
    RecordExists,
    RecordMissing,
    WriteRefused,
)
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation
from pantler_server.origins.grpc import Channels, GrpcOrigin
from pantler_server.origins.origin import Batch, Refusal, Stored, Write
from pantler_server.record_struct import to_struct
from structlog.testing import capture_logs

from tests.servers.fault_proxy import FaultProxy
from tests.servers.origin_service import OriginService
from tests.servers.valkey import free_port

ADA = {"name": "Ada", "age": 36, "score": 1.5, "admin": True, "left": None, "tags": ["x", 2, {}]}


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def write(key: str, version: int, operation: Operation = Operation.UPSERT, **fields: Any) -> Write:
    return Write(key, operation, fields, version)


def config(target: str, **options: Any) -> OriginConfig:
    ca_file = options.pop("ca_file", None)
    return OriginConfig.model_validate({"grpc": {"target": target, "ca_file": ca_file}, **options})


@pytest_asyncio.fixture
async def service() -> AsyncIterator[OriginService]:
    async with OriginService() as running:
        yield running


@pytest_asyncio.fixture
async def origin(service: OriginService) -> AsyncIterator[GrpcOrigin]:
    opened = GrpcOrigin("users", config(service.target, max_concurrency=4), Channels())
    await opened.start()
    yield opened
    await opened.stop()


class Told:
    """What a batch tells of before its commit."""

    def __init__(self) -> None:
        self.refused: list[Refusal] = []

    async def __call__(self, refused: Sequence[Refusal]) -> None:
        self.refused += refused


def batch(*writes: Write) -> Batch:
    return Batch("users:0", 1, max(one.version for one in writes), writes)


# Reads.


async def test_records_are_loaded(service: OriginService, origin: GrpcOrigin) -> None:
    service.put("ada", **ADA)
    service.put("empty")
    assert await origin.load("ada", soon()) == ADA
    assert await origin.load("empty", soon()) == {}
    assert await origin.load("nobody", soon()) is None
    found = await origin.load_many(["ada", "nobody", "empty"], soon())
    assert found == {"ada": ADA, "empty": {}}
    assert await origin.load_many([], soon()) == {}
    assert service.calls == {"Load": 3, "LoadBatch": 1}


async def test_a_service_is_never_asked_for_more_than_a_thousand_at_once(
    service: OriginService, origin: GrpcOrigin
) -> None:
    keys = [f"k{i}" for i in range(2001)]
    for key in keys:
        service.put(key, n=key)
    assert await origin.load_many(keys, soon()) == {key: {"n": key} for key in keys}
    assert service.calls == {"LoadBatch": 3}


def nan() -> Struct:
    message = Struct()
    message.fields["n"].number_value = float("nan")
    return message


NONSENSE = [
    ("Load", b"\xff\xff", "answered what is no response"),
    ("Load", origin_pb2.LoadResponse(record=nan()), "answered with what is no record"),
    ("LoadBatch", b"\xff\xff", "answered what is no response"),
    (
        "LoadBatch",
        origin_pb2.LoadBatchResponse(records={"stranger": Struct()}),
        "answered with records that it was not asked for",
    ),
]


@pytest.mark.parametrize(("method", "answer", "said"), NONSENSE)
async def test_nonsense_is_said_to_be_nonsense(
    service: OriginService, origin: GrpcOrigin, method: str, answer: Any, said: str
) -> None:
    service.answers[method] = answer
    many = method == "LoadBatch"
    with pytest.raises(OriginUnavailable) as failed:
        await (origin.load_many(["ada"], soon()) if many else origin.load("ada", soon()))
    assert failed.value.message == f"the origin of namespace 'users' {said}"


async def test_what_is_no_record_fails_alone_in_a_batch(
    service: OriginService, origin: GrpcOrigin
) -> None:
    records = {"ada": to_struct(ADA), "bad": nan()}
    service.answers["LoadBatch"] = origin_pb2.LoadBatchResponse(records=records)
    found = await origin.load_many(["ada", "bad", "nobody"], soon())
    assert found == {"ada": ADA, "bad": found["bad"]}
    assert isinstance(found["bad"], OriginUnavailable)
    assert found["bad"].message.endswith("answered with what is no record")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
async def test_reads_fail_without_the_words_of_the_service(
    service: OriginService, origin: GrpcOrigin, code: grpc.StatusCode
) -> None:
    service.fails, service.words = code, "pq: password of 10.0.0.7 is wrong"
    said = {
        "DEADLINE_EXCEEDED": "did not answer in time",
        "UNAVAILABLE": "is not available",
    }.get(code.name, f"answered {code.name}")
    with pytest.raises(OriginUnavailable) as failed:
        await origin.load("ada", soon())
    assert failed.value.message == f"the origin of namespace 'users' {said}"


async def test_what_the_service_says_of_a_failure_is_in_the_log_once_in_a_second(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.fails, service.words = grpc.StatusCode.INTERNAL, "disk full"
    with capture_logs() as logs:
        for _ in range(20):
            with pytest.raises(OriginUnavailable):
                await origin.load("ada", soon())
    [line] = logs
    assert (line["namespace"], line["answer"]) == ("users", "INTERNAL")
    assert line["details"] == "disk full"


async def test_a_read_ends_by_its_deadline(service: OriginService, origin: GrpcOrigin) -> None:
    service.goes_on.clear()
    with pytest.raises(OriginUnavailable, match="did not answer in time"):
        await origin.load("ada", soon(0.05))


# Writes.


async def test_a_write_gives_the_record_afterwards(
    service: OriginService, origin: GrpcOrigin
) -> None:
    inserted = await origin.store(write("ada", 5, Operation.INSERT, **ADA), soon())
    assert inserted == Stored(ADA, is_known=True)
    updated = await origin.store(write("ada", 6, Operation.UPDATE, age=37), soon())
    assert updated == Stored({**ADA, "age": 37}, is_known=True)
    upserted = await origin.store(write("ada", 7, name="A."), soon())
    assert upserted == Stored({"name": "A."}, is_known=True)
    removed = await origin.store(write("ada", 8, Operation.DELETE), soon())
    assert removed == Stored(None, is_known=False, existed=True)
    again = await origin.store(write("ada", 9, Operation.DELETE), soon())
    assert again == Stored(None, is_known=False, existed=False)


async def test_a_service_need_not_say_the_record(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.says_records = False
    assert await origin.store(write("ada", 1, n=1), soon()) == Stored(None, is_known=False)


async def test_an_insert_of_what_exists_and_an_update_of_what_does_not(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.put("ada")
    with pytest.raises(RecordExists):
        await origin.store(write("ada", 1, Operation.INSERT), soon())
    with pytest.raises(RecordMissing):
        await origin.store(write("bob", 1, Operation.UPDATE), soon())


async def test_a_refusal_has_the_words_of_the_service(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.refuses["ada"], service.words = grpc.StatusCode.INVALID_ARGUMENT, "age is below 0"
    with pytest.raises(WriteRefused) as refused:
        await origin.store(write("ada", 1, age=-1), soon())
    assert refused.value.message == "the origin refuses the write: age is below 0"
    service.words = ""
    with pytest.raises(WriteRefused, match="INVALID_ARGUMENT"):
        await origin.store(write("ada", 1, age=-1), soon())


async def test_removing_what_is_not_found_is_no_error(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.refuses["ada"] = grpc.StatusCode.NOT_FOUND
    removed = await origin.store(write("ada", 1, Operation.DELETE), soon())
    assert removed == Stored(None, is_known=False, existed=False)


REFUSED = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS", "NOT_FOUND"}
NOTHING_DONE = {
    *("RESOURCE_EXHAUSTED", "ABORTED", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED")
}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
async def test_each_code_says_what_became_of_a_write(
    service: OriginService, origin: GrpcOrigin, code: grpc.StatusCode
) -> None:
    service.fails, service.fails_after = code, code.name not in REFUSED | NOTHING_DONE
    expected: type[Exception] = OriginOutcomeUnknown
    if code.name in REFUSED:
        expected = WriteRefused  # of an UPSERT; what it means for others is tested above
    elif code.name in NOTHING_DONE:
        expected = OriginUnavailable
    with pytest.raises(expected):
        await origin.store(write("ada", 1), soon())


@pytest.mark.parametrize(
    "answer", [b"\xff\xff", origin_pb2.StoreResponse(record=nan())], ids=["bytes", "nan"]
)
async def test_a_write_that_is_answered_with_nonsense_may_have_been_done(
    service: OriginService, origin: GrpcOrigin, answer: Any
) -> None:
    service.answers["Store"] = answer
    with pytest.raises(OriginOutcomeUnknown):
        await origin.store(write("ada", 1, n=1), soon())
    assert service.record("ada") == {"n": 1}


async def test_a_write_under_way_whose_connection_is_lost_may_have_been_done(
    service: OriginService,
) -> None:
    async with FaultProxy(service.port) as proxy:
        origin = GrpcOrigin("users", config(f"127.0.0.1:{proxy.port}"), Channels())
        await origin.start()
        assert await origin.load("ada", soon()) is None
        proxy.hold_replies()
        writing = asyncio.create_task(origin.store(write("ada", 1, n=1), soon()))
        async with asyncio.timeout(5):
            while service.record("ada") is None:
                service.entered.clear()
                await service.entered.wait()
                await asyncio.sleep(0)
        proxy.cut()
        with pytest.raises(OriginOutcomeUnknown):
            await writing
        await origin.stop()


async def test_a_write_to_a_service_that_is_away_did_nothing() -> None:
    origin = GrpcOrigin("users", config(f"127.0.0.1:{free_port()}"), Channels())
    await origin.start()
    with pytest.raises(OriginUnavailable, match="can't be reached"):
        await origin.store(write("ada", 1), soon())
    await origin.stop()


async def test_a_write_that_finds_no_connection_in_time_did_nothing(
    service: OriginService,
) -> None:
    async with FaultProxy(service.port) as proxy:
        proxy.stall()
        origin = GrpcOrigin("users", config(f"127.0.0.1:{proxy.port}"), Channels())
        await origin.start()
        with pytest.raises(OriginUnavailable, match="could not be reached in time"):
            await origin.store(write("ada", 1), soon(0.1))
        await origin.stop()
        proxy.restore()


async def test_a_service_that_comes_back_is_found_soon(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.put("ada", **ADA)
    assert await origin.load("ada", soon()) == ADA
    await service.stop()
    with pytest.raises(OriginUnavailable):
        await origin.load("ada", soon())
    await service.start()
    async with asyncio.timeout(5):
        while True:
            try:
                assert (await origin.store(write("ada", 1, n=1), soon())).record == {"n": 1}
                break
            except OriginUnavailable:
                await asyncio.sleep(0.05)
    assert await origin.load("ada", soon()) == {"n": 1}


async def test_fields_must_be_finite(origin: GrpcOrigin) -> None:
    checked = await origin.check("ada", Operation.UPSERT, {"a": 1.0, "b": [2.5]}, soon())
    assert canonical_json.encode(checked) == b'{"a":1,"b":[2.5]}'
    with pytest.raises(InvalidFields) as found:
        await origin.check("ada", Operation.UPSERT, {"a": [float("nan")], "b": 1}, soon())
    assert [one.path for one in found.value.violations] == ["fields.a"]


async def test_what_the_origin_cannot_do_it_says(origin: GrpcOrigin) -> None:
    assert not origin.keys_can_be_listed
    assert origin.whole_record("ada", {"n": 1}, 7) == {"n": 1}
    assert await origin.applied("users:0", soon()) == 0


# Batches.


async def test_a_batch_does_all_but_what_is_refused_and_tells_of_that(
    service: OriginService, origin: GrpcOrigin
) -> None:
    service.put("there")
    service.refuses["poison"], service.words = grpc.StatusCode.FAILED_PRECONDITION, "is frozen"
    told = Told()
    writes = batch(
        write("new", 1, Operation.INSERT, n=1),
        write("there", 2, Operation.INSERT, n=2),
        write("nobody", 3, Operation.UPDATE, n=3),
        write("poison", 4, n=4),
        write("gone", 5, Operation.DELETE),
    )
    await origin.apply(writes, told, soon())
    assert [one.version for one in told.refused] == [2, 3, 4]
    assert told.refused[2].reason == "the origin refuses the write: is frozen"
    assert service.record("new") == {"n": 1}
    await origin.apply(writes, told, soon())
    assert service.record("new") == {"n": 1}


async def test_a_batch_of_which_some_fail_comes_again(
    service: OriginService, origin: GrpcOrigin
) -> None:
    told = Told()
    service.refuses["b"] = grpc.StatusCode.UNAVAILABLE
    service.refuses["c"] = grpc.StatusCode.INVALID_ARGUMENT
    writes = batch(write("a", 1, n=1), write("b", 2, n=2), write("c", 3), write("d", 4, n=4))
    with pytest.raises(OriginUnavailable):
        await origin.apply(writes, told, soon())
    assert service.record("a") == {"n": 1}
    assert service.record("d") == {"n": 4}  # all have ended
    assert not told.refused
    del service.refuses["b"]
    await origin.apply(writes, told, soon())
    assert service.record("b") == {"n": 2}
    assert [one.version for one in told.refused] == [3]


async def test_a_batch_that_comes_late_changes_nothing(
    service: OriginService, origin: GrpcOrigin
) -> None:
    await origin.store(write("a", 9, n=9), soon())
    await origin.apply(batch(write("a", 8, n=8)), Told(), soon())
    assert service.record("a") == {"n": 9}


async def test_the_writes_of_batches_go_side_by_side_and_not_too_many(
    service: OriginService, origin: GrpcOrigin
) -> None:
    batches = [batch(*(write(f"{b}.{i}", 1 + i) for i in range(50))) for b in range(3)]
    service.goes_on.clear()
    applying = asyncio.gather(*(origin.apply(one, Told(), soon()) for one in batches))
    async with asyncio.timeout(5):
        while service.under_way < 4:
            service.entered.clear()
            await service.entered.wait()
    service.goes_on.set()
    await applying
    assert service.most_under_way == 4
    assert len(service.rows) == 150


# Channels.


async def test_namespaces_share_the_channel_of_a_target(service: OriginService) -> None:
    channels = Channels()
    one, other = (GrpcOrigin(name, config(service.target), channels) for name in ("a", "b"))
    await one.start()
    await other.start()
    assert one._service is other._service
    await one.stop()
    assert await other.load("ada", soon()) is None
    await other.stop()
    assert not channels._open
    with pytest.raises(OriginNotReady):
        await other.load("ada", soon())
