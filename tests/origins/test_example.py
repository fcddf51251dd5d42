"""The example of an OriginService does what its contract asks of it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pantler_server.core.errors import RecordExists, RecordMissing, WriteRefused
from pantler_server.core.origin_config import OriginConfig
from pantler_server.core.record import Operation
from pantler_server.origins.grpc import Channels, GrpcOrigin
from pantler_server.origins.origin import Batch, Refusal, Stored, Write
from pantler_server.store.embedded import die_with_parent

EXAMPLE = Path(__file__).parents[2] / "examples/origin_python/service.py"


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


@pytest_asyncio.fixture
async def origin(tmp_path: Path) -> AsyncIterator[GrpcOrigin]:
    """The users of an example that runs as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLE), str(tmp_path / "users.db"), "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        said = (await process.stdout.readline()).decode()
    target = f"127.0.0.1:{said.rpartition(' ')[2].strip()}"
    config = OriginConfig.model_validate({"grpc": {"target": target}})
    opened = GrpcOrigin("users", config, Channels())
    await opened.start()
    yield opened
    await opened.stop()
    process.terminate()
    await process.wait()


def write(version: int, operation: Operation, **fields: Any) -> Write:
    return Write("ada", operation, fields, version)


async def test_the_example_keeps_records(origin: GrpcOrigin) -> None:
    assert await origin.load("ada", soon()) is None
    with pytest.raises(RecordMissing):
        await origin.store(write(1, Operation.UPDATE, age=1), soon())
    ada = {"name": "Ada", "age": 36, "tags": ["x", 1.5, None]}
    inserted = await origin.store(write(2, Operation.INSERT, **ada), soon())
    assert inserted == Stored(ada, is_known=True)
    with pytest.raises(RecordExists):
        await origin.store(write(3, Operation.INSERT, name="other"), soon())
    with pytest.raises(WriteRefused, match="a user must have a name"):
        await origin.store(write(3, Operation.UPDATE, name=""), soon())
    await origin.store(write(3, Operation.UPDATE, age=37), soon())
    assert await origin.load_many(["ada", "bob"], soon()) == {"ada": {**ada, "age": 37}}
    await origin.store(write(4, Operation.UPSERT, name="A."), soon())
    assert await origin.load("ada", soon()) == {"name": "A."}
    assert (await origin.store(write(5, Operation.DELETE), soon())).existed
    assert not (await origin.store(write(6, Operation.DELETE), soon())).existed
    assert await origin.load("ada", soon()) is None


async def test_the_example_does_a_write_once_and_no_older_one_after_it(origin: GrpcOrigin) -> None:
    insert = write(5, Operation.INSERT, name="Ada")
    assert await origin.store(insert, soon()) == await origin.store(insert, soon())
    late = write(4, Operation.UPSERT, name="older")
    assert await origin.store(late, soon()) == Stored({"name": "Ada"}, is_known=True)
    await origin.store(write(7, Operation.DELETE), soon())
    await origin.store(write(6, Operation.UPSERT, name="older"), soon())
    assert await origin.load("ada", soon()) is None


async def test_the_example_takes_batches(origin: GrpcOrigin) -> None:
    told: list[Refusal] = []

    async def tell(refused: Sequence[Refusal]) -> None:
        told.extend(refused)

    writes = [Write(f"k{i}", Operation.UPSERT, {"name": str(i)}, i) for i in range(1, 100)]
    writes.append(Write("nameless", Operation.UPSERT, {"name": ""}, 100))
    for _ in range(2):
        await origin.apply(Batch("users:0", 1, 100, writes), tell, soon())
    assert [one.version for one in told] == [100, 100]
    found = await origin.load_many([one.key for one in writes], soon())
    assert found == {one.key: one.fields for one in writes[:-1]}
