"""Records through the Python SDK, against a real server over a table."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import pantler
import pytest
import pytest_asyncio
from grpc import StatusCode
from pantler.record_messages import fields_of, struct

from tests.servers.fault_proxy import FaultProxy
from tests.servers.pantler import PantlerServer
from tests.servers.scripted_batches import Answer, ScriptedBatches
from tests.servers.users_table import UsersTable
from tests.servers.valkey import free_port

_numbers = count()

T = TypeVar("T")

both_modes = pytest.mark.parametrize("space", ["through", "behind"])


@pytest_asyncio.fixture(scope="module")
async def client(record_server: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(record_server.address) as opened:
        yield opened


@pytest.fixture
def key() -> str:
    """One that no other test uses."""
    return f"sdk{next(_numbers)}"


@both_modes
async def test_a_record_is_written_read_and_deleted(
    client: pantler.AsyncClient, users: UsersTable, space: str, key: str
) -> None:
    first = await client.put_record(space, key, {"name": "Ada", "age": 36}, operation="insert")
    assert first.durability == ("written" if space == "through" else "queued")
    second = await client.put_record(space, key, {"score": 1.5}, operation="update")
    assert second.version > first.version
    found = await client.get_record(space, key)
    assert found is not None
    assert list(found.fields.items()) == [
        ("age", 36),
        ("email", None),
        ("id", key),
        ("name", "Ada"),
        ("score", 1.5),
    ]
    assert not found.stale
    assert (await client.flush_writes(space)).remaining == 0
    assert users.row(key) == ("Ada", 36, None, 1.5)
    fresh = await client.get_record(space, key, force_refresh=True)
    assert fresh == pantler.Record(found.fields, stale=False, source="origin")
    deleted = await client.delete_record(space, key)
    assert (deleted.durability, deleted.version > second.version) == (first.durability, True)
    assert await client.get_record(space, key) is None


async def test_a_delete_says_whether_there_was_a_record(
    client: pantler.AsyncClient, key: str
) -> None:
    await client.put_record("through", key, {})
    assert (await client.delete_record("through", key)).deleted is True
    assert (await client.delete_record("through", key)).deleted is False


async def test_what_is_there_or_not_is_an_error_of_its_own(
    client: pantler.AsyncClient, key: str
) -> None:
    with pytest.raises(pantler.RecordMissing):
        await client.put_record("through", key, {"age": 1}, operation="update")
    await client.put_record("through", key, {"age": 1})
    with pytest.raises(pantler.RecordExists):
        await client.put_record("through", key, {"age": 1}, operation="insert")
    with pytest.raises(pantler.WriteRefused):
        await client.put_record("readonly", key, {"age": 1})
    with pytest.raises(pantler.FailedPrecondition, match="no system of record"):
        await client.get_record("plain", key)
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.put_record("through", key, {"nome": "Ada"})
    assert [one.path for one in refused.value.violations] == ["fields.nome"]
    with pytest.raises(ValueError, match="operation must be one of insert, update, upsert"):
        await client.put_record("through", key, {}, operation="replace")  # type: ignore[arg-type]


async def test_a_wrong_argument_is_named(client: pantler.AsyncClient, key: str) -> None:
    wrong: Any
    for wrong in (1, b"1"):
        with pytest.raises(TypeError, match=f"key must be text, not {wrong!r}"):
            await client.put_record("through", wrong, {})
        with pytest.raises(TypeError, match="key must be text"):
            await client.put_records("through", {wrong: {}})
        with pytest.raises(TypeError, match="key must be text"):
            await client.get_record("through", wrong)
        with pytest.raises(TypeError, match="key must be text"):
            await client.get_records("through", [wrong])
        with pytest.raises(TypeError, match="key must be text"):
            await client.delete_record("through", wrong)
        with pytest.raises(TypeError, match="namespace must be text"):
            await client.put_record(wrong, key, {})
        with pytest.raises(TypeError, match="request_id must be text"):
            await client.put_record("through", key, {}, request_id=wrong)
    wrong = None
    with pytest.raises(TypeError, match="fields must be a mapping of names to values, not None"):
        await client.put_record("through", key, wrong)
    half = "\ud800"
    with pytest.raises(ValueError, match=r"key '\\ud800' is not Unicode text"):
        await client.put_record("through", half, {})
    with pytest.raises(ValueError, match=r"field 'a.b': '\\ud800' is not Unicode text"):
        await client.put_record("through", key, {"a": {"b": half}})
    with pytest.raises(ValueError, match=r"the name of field '\\ud800' is not Unicode text"):
        await client.put_record("through", key, {half: 1})


async def test_batches_of_any_size(
    client: pantler.AsyncClient, users: UsersTable, key: str
) -> None:
    records = {f"{key}-{number}": {"age": number} for number in range(1200)}
    written = await client.put_records("behind", records)
    assert list(written) == list(records)
    found = await client.get_records("behind", ["nobody", *records])
    assert {one: record.fields["age"] for one, record in found.items()} == {
        one: record["age"] for one, record in records.items()
    }
    assert (await client.flush_writes("behind")).remaining == 0
    assert users.row(f"{key}-1199") == (None, 1199, None, None)
    loaded = await client.get_records("through", ["nobody", *records])
    assert list(loaded) == list(records)


async def test_a_batch_that_fails_in_part_keeps_the_rest(
    client: pantler.AsyncClient, key: str
) -> None:
    await client.put_record("through", f"{key}-a", {"name": "Ada"})
    changes = {f"{key}-a": {"age": 1}, f"{key}-b": {"age": 2}}
    with pytest.raises(pantler.PartialFailure) as failed:
        await client.put_records("through", changes, operation="update")
    assert list(failed.value.results) == [f"{key}-a"]
    assert isinstance(failed.value.errors[f"{key}-b"], pantler.RecordMissing)
    with pytest.raises(pantler.InvalidArgument) as refused:
        await client.put_records("through", {f"{key}-a": {}, "": {}})
    assert [one.path for one in refused.value.violations] == ["writes[1].key"]


async def test_dead_writes_are_listed_retried_and_discarded(
    client: pantler.AsyncClient, users: UsersTable, key: str
) -> None:
    before = datetime.now(UTC)
    await client.put_records("behind", {f"{key}-{number}": {"age": -1} for number in range(3)})
    await client.flush_writes("behind", timeout=timedelta(seconds=3))
    dead = [one async for one in client.list_dead_writes("behind") if one.key.startswith(key)]
    assert sorted(one.key for one in dead) == [f"{key}-{number}" for number in range(3)]
    assert {one.operation for one in dead} == {"upsert"}
    assert dead[0].fields["age"] == -1
    assert abs(dead[0].refuse_time - before) < timedelta(seconds=60)
    assert dead[0].reason
    backlog = await client.write_backlog("behind")
    assert (backlog.pending, backlog.oldest_age, backlog.dead) == (0, timedelta(0), 3)
    assert await client.retry_dead_writes("behind", [dead[0].id, "0-1"]) == 1
    await client.flush_writes("behind")
    assert await client.discard_dead_writes("behind", [dead[1].id]) == 1
    assert await client.discard_dead_writes("behind", "all") == 2
    assert await client.retry_dead_writes("behind", "all") == 0
    assert users.row(dead[0].key) is None
    with pytest.raises(TypeError, match="give several"):
        await client.discard_dead_writes("behind", dead[0].id)


async def test_a_flush_says_what_still_waits(
    client: pantler.AsyncClient, users: UsersTable, key: str
) -> None:
    await client.flush_writes("behind")
    with users.locked():
        await client.put_record("behind", key, {"age": 1})
        held = await client.flush_writes("behind", timeout=timedelta(milliseconds=100))
        assert held == pantler.FlushResult(flushed=0, remaining=1)
        backlog = await client.write_backlog("behind")
        assert (backlog.pending, backlog.oldest_age > timedelta(0)) == (1, True)
    assert (await client.flush_writes("behind")).remaining == 0
    assert users.row(key) == (None, 1, None, None)


async def test_refreshing_can_be_stopped(client: pantler.AsyncClient, key: str) -> None:
    await client.put_record("through", key, {"name": "Ada"})
    await client.stop_refresh("through", [key])
    await client.stop_refresh("through", "all")
    assert await client.get_record("through", key) is not None


async def written(users: UsersTable, key: str) -> None:
    """Waits until the table has a record."""
    async with asyncio.timeout(10):
        while users.row(key) is None:
            await asyncio.sleep(0.005)


async def cut_off(users: UsersTable, proxy: FaultProxy, key: str, call: Awaitable[T]) -> T:
    """Loses the answer of a call that has written the record, and what it comes to then."""
    proxy.hold_replies()
    running = asyncio.ensure_future(call)
    await written(users, key)
    proxy.restore()
    proxy.cut()
    return await running


@both_modes
async def test_a_write_whose_answer_is_lost_is_repeated_and_done_once(
    record_server: PantlerServer, users: UsersTable, space: str, key: str
) -> None:
    port = int(record_server.address.rpartition(":")[2])
    async with FaultProxy(port) as proxy, pantler.AsyncClient(f"127.0.0.1:{proxy.port}") as client:
        assert await client.get_record(space, key) is None  # it is connected
        record = {"name": "Ada"}
        call = client.put_record(space, key, record, operation="insert")
        await cut_off(users, proxy, key, call)
        many = {f"{key}-a": record, f"{key}-b": record}
        calls = client.put_records(space, many, operation="insert")
        assert list(await cut_off(users, proxy, f"{key}-b", calls)) == list(many)
        once = client.put_record(space, f"{key}-c", record, operation="insert", request_id="")
        with pytest.raises(pantler.Unavailable):
            await cut_off(users, proxy, f"{key}-c", once)


@pytest.mark.parametrize(
    "repeat",
    [StatusCode.FAILED_PRECONDITION, [StatusCode.FAILED_PRECONDITION]],
    ids=["as a whole", "of its item"],
)
async def test_a_write_of_a_batch_that_is_repeated_failed_as_the_repeat_did(
    repeat: Answer,
) -> None:
    async with (
        ScriptedBatches([StatusCode.OK, StatusCode.UNAVAILABLE], repeat) as server,
        pantler.AsyncClient(server.address) as client,
    ):
        with pytest.raises(pantler.PartialFailure) as failed:
            await client.put_records("users", {"a": {}, "b": {}})
    assert list(failed.value.results) == ["a"]
    assert isinstance(failed.value.errors["b"], pantler.FailedPrecondition)


async def test_a_server_that_stays_away_is_unavailable(key: str) -> None:
    client = pantler.AsyncClient(f"127.0.0.1:{free_port()}", timeout=timedelta(seconds=1))
    async with asyncio.timeout(3), client:
        for call in (
            client.put_record("through", key, {}),
            client.put_records("through", {key: {}}),
            client.delete_record("through", key),
        ):
            with pytest.raises(pantler.Unavailable):
                await call


FORMS: list[tuple[Any, Any]] = [
    (Decimal("12.50"), "12.50"),
    (Decimal("1E+3"), "1000"),
    (2**53 + 1, "9007199254740993"),
    (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05Z"),
    (
        datetime(2024, 1, 2, 3, 4, 5, 600, tzinfo=timezone(timedelta(hours=2))),
        "2024-01-02T01:04:05.000600Z",
    ),
    (datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05Z"),  # without a zone
    (date(2024, 1, 2), "2024-01-02"),
    (time(3, 4), "03:04:00"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (b"\xff\0", "/wA="),
    ((1, [True, None]), [1, [True, None]]),
    ({"a": {"b": 1.0}}, {"a": {"b": 1}}),
    ({}, {}),
    ([], []),
]


@pytest.mark.parametrize(("value", "form"), FORMS, ids=str)
def test_python_values_have_their_forms(value: Any, form: Any) -> None:
    assert fields_of(struct({"x": value})) == {"x": form}


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"a": {"b": [slice(3)]}}, TypeError, r"field 'a.b\[0\]' is a slice"),
        ({"a": timedelta(1)}, TypeError, "field 'a' is a timedelta"),
        ({"a": {1, 2}}, TypeError, "field 'a' is a set"),
        ({7: 1}, TypeError, "names of fields are text, not 7"),
        ({"a": float("nan")}, ValueError, "field 'a' is nan"),
        ({"a": Decimal("Infinity")}, ValueError, "field 'a' is Infinity"),
    ],
    ids=str,
)
def test_what_has_no_form_is_refused_by_name(
    fields: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        struct(fields)
