"""Batches of write-behind: once, by one owner, and without what is refused."""

import asyncio
from collections.abc import Sequence

import pytest
from pantler_server.core.errors import OriginUnavailable
from pantler_server.core.record import Operation
from pantler_server.origins.origin import OwnerSuperseded, Refusal

from tests.origins.conftest import PEOPLE, Table, Tables

INSERT, UPDATE, UPSERT, DELETE = Operation


async def test_a_batch_of_all_kinds_is_applied(people: Table) -> None:
    for key in ("b", "c"):
        await people.store(key, INSERT, name=key)
    refused = await people.apply(
        await people.write("a", INSERT, name="A", age=1),
        await people.write("b", UPDATE, age=2),
        await people.write("c", DELETE),
        await people.write("d", UPSERT, name="D"),
        await people.write("nobody", DELETE),
    )
    assert refused == []
    assert await people.rows("id, name, age") == [("a", "A", 1), ("b", "b", 2), ("d", "D", None)]


async def test_a_batch_that_was_applied_changes_nothing_again(people: Table) -> None:
    batch = [await people.write("a", INSERT, name="A"), await people.write("b", UPSERT, name="B")]
    await people.apply(*batch)
    await people.database.execute(f"UPDATE {people.name} SET name = 'since'")
    assert await people.apply(*batch) == []
    assert await people.rows("name") == [("since",), ("since",)]


async def test_of_a_batch_only_what_is_new_is_applied(people: Table) -> None:
    old = await people.write("a", UPSERT, name="A")
    await people.apply(old)
    await people.store("a", UPDATE, name="since")
    await people.apply(old, await people.write("b", UPSERT, name="B"))
    assert await people.rows("name") == [("since",), ("B",)]


async def test_a_batch_tells_what_the_log_had_before(people: Table) -> None:
    async def before_commit(refused: Sequence[Refusal]) -> None:
        raise AssertionError(refused)

    first = people.batch(await people.write("a", UPSERT, name="A"))
    second = people.batch(await people.write("b", UPSERT, name="B"))
    assert await people.origin.apply(first, before_commit, people.deadline()) == 0
    begins = min(write.version for write in second.writes)
    assert await people.origin.apply(second, before_commit, people.deadline()) < begins
    assert await people.origin.apply(first, before_commit, people.deadline()) == second.last


async def test_the_position_of_a_log_is_kept(people: Table) -> None:
    log = f"{people.name}:0"
    assert await people.origin.applied(log, people.deadline()) == 0
    await people.apply(await people.write("a", UPSERT, name="A"), last=5_000)
    assert await people.origin.applied(log, people.deadline()) == 5_000
    assert await people.origin.applied(f"{people.name}:1", people.deadline()) == 0


async def test_a_batch_whose_writes_are_all_dead_moves_the_position(people: Table) -> None:
    log = f"{people.name}:0"
    await people.apply(await people.write("a", UPSERT, name="A"), last=5_000)
    await people.apply(last=6_000)
    assert await people.origin.applied(log, people.deadline()) == 6_000


async def test_an_owner_is_superseded_by_a_later_one(people: Table) -> None:
    await people.apply(await people.write("a", UPSERT, name="A"), epoch=2)
    with pytest.raises(OwnerSuperseded):
        await people.apply(await people.write("a", UPSERT, name="old"), epoch=1)
    assert await people.rows("name") == [("A",)]


async def test_of_two_owners_at_once_the_later_one_stays(people: Table, tables: Tables) -> None:
    """Whichever comes first, the earlier one's write is not over that of the later one."""
    other = Table(people.database, people.name, await tables.origin(people.name))
    for round_ in range(10):
        old = await people.write("a", UPSERT, name=f"old {round_}")
        new = await people.write("a", UPSERT, name=f"new {round_}")
        results = await asyncio.gather(
            people.apply(old, epoch=2 * round_ + 1),
            other.apply(new, epoch=2 * round_ + 2),
            return_exceptions=True,
        )
        assert results[0] in ([],) or isinstance(results[0], OwnerSuperseded)
        assert results[1] == []
        assert await people.rows("name") == [(f"new {round_}",)]


async def test_refused_writes_do_not_hold_the_others(tables: Tables) -> None:
    table = await tables.make(f"{PEOPLE}, CONSTRAINT grown CHECK (age < 200)")
    await table.store("there", INSERT, name="there", email="taken")
    good = [await table.write(f"k{n:03}", UPSERT, name="x", age=n) for n in range(100)]
    bad = [
        (await table.write("k200", UPSERT, name="x", age=200), "breaks a check"),
        (await table.write("k201", UPSERT, name="x", age=999), "breaks a check"),
        (await table.write("k202", INSERT, name="x", email="taken"), "not unique"),
        (await table.write("there", INSERT, name="x"), "there was a record already"),
        (await table.write("nobody", UPDATE, age=1), "there was no record"),
    ]
    writes = [*good[:50], *(write for write, _ in bad), *good[50:]]
    refused = {one.version: one.reason for one in await table.apply(*writes)}
    assert set(refused) == {write.version for write, _ in bad}
    for write, reason in bad:
        assert reason in refused[write.version]
    assert len(await table.rows()) == 101


async def test_a_write_to_a_column_that_is_gone_holds_nobody_up(
    people: Table, tables: Tables
) -> None:
    writes = [
        await people.write("a", UPSERT, name="A", age=1),
        await people.write("b", UPSERT, name="B"),
    ]
    await people.database.execute(f"ALTER TABLE {people.name} DROP COLUMN age")
    migrated = Table(people.database, people.name, await tables.origin(people.name))
    refused = await migrated.apply(*writes)
    assert [(one.version, one.reason) for one in refused] == [
        (writes[0].version, "the table has no column age any more")
    ]
    assert await people.rows("id") == [("b",)]


async def test_what_another_write_of_the_batch_makes_good_is_not_refused(people: Table) -> None:
    await people.store("a", INSERT, name="A", email="mail")
    refused = await people.apply(
        await people.write("b", INSERT, name="B", email="mail"),
        await people.write("a", UPDATE, email="other"),
    )
    assert refused == []
    assert await people.rows("id, email") == [("a", "other"), ("b", "mail")]


async def test_the_newer_version_wins(versioned: Table) -> None:
    await versioned.store("a", INSERT, name="A")
    await versioned.store("b", INSERT, name="B")
    await versioned.store("c", INSERT, name="C")
    late = [
        await versioned.write("a", UPSERT, name="late"),
        await versioned.write("b", UPDATE, name="late"),
        await versioned.write("c", DELETE),
        await versioned.write("d", UPSERT, name="new"),
    ]
    await versioned.database.execute(f"UPDATE {versioned.name} SET version = 9000")
    refused = await versioned.apply(*late)
    assert [one.reason for one in refused] == ["there was a newer version already"] * 3
    assert await versioned.rows("name, version") == [
        ("A", 9000),
        ("B", 9000),
        ("C", 9000),
        ("new", late[3].version),
    ]


async def test_a_batch_sets_the_versions_of_its_writes(versioned: Table) -> None:
    await versioned.store("b", INSERT, name="B")
    await versioned.database.execute(f"UPDATE {versioned.name} SET version = NULL")
    writes = [
        await versioned.write("a", INSERT, name="A"),
        await versioned.write("b", UPDATE, name="B2"),
    ]
    assert await versioned.apply(*writes) == []
    assert await versioned.rows("version") == [(one.version,) for one in writes]


async def test_refusals_are_told_before_the_commit(people: Table) -> None:
    seen: list[int] = []

    async def before_commit(refused: Sequence[Refusal]) -> None:
        seen.append(len(await people.rows()))

    batch = people.batch(
        await people.write("a", UPSERT, name="A"), await people.write("nobody", UPDATE, age=1)
    )
    await people.origin.apply(batch, before_commit, people.deadline())
    assert seen == [0]
    assert len(await people.rows()) == 1


async def test_nothing_is_done_where_refusals_cannot_be_told(people: Table) -> None:
    async def before_commit(refused: Sequence[Refusal]) -> None:
        raise OriginUnavailable("redis is away", "test")

    batch = people.batch(
        await people.write("a", UPSERT, name="A"), await people.write("nobody", UPDATE, age=1)
    )
    with pytest.raises(OriginUnavailable, match="redis is away"):
        await people.origin.apply(batch, before_commit, people.deadline())
    assert await people.rows() == []
    assert await people.apply(*batch.writes) != []
    assert len(await people.rows()) == 1
