"""Events through the Python SDK, against a real server."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from uuid import UUID

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer

_ids = count()
RULES = """
events:
  - name: cards
    type: user.renamed
    namespace: users
    keys: ["card:{user.id}"]
    cascade: true
  - name: pages
    type: user.renamed
    when: {user.public: true}
    namespace: pages
    mode: soft
    tags: ["user:{user.id}", "team:{user.teams}"]
  - name: everything
    type: shop.moved
    namespace: pages
    all: true
"""
RENAMED = {"user": {"id": 5, "public": True, "teams": ("a", "b")}}


def an_id() -> str:
    return f"sdkevent{next(_ids)}"


@pytest_asyncio.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[pantler.AsyncClient]:
    """A client of a server with event rules."""
    config: Path = tmp_path_factory.mktemp("events") / "pantler.yaml"
    config.write_text(RULES)
    async with (
        PantlerServer(config=config) as running,
        pantler.AsyncClient(running.address) as opened,
    ):
        yield opened


async def test_an_event_tells_what_its_rules_did(client: pantler.AsyncClient) -> None:
    await client.set("users", "card:5", b"v")
    await client.set("users", "badge", b"v", depends_on=["card:5"])
    await client.set("pages", "about", b"v", tags=["team:b"])
    published = await client.publish_event("user.renamed", RENAMED)
    assert published == pantler.PublishedEvent(
        (
            pantler.RuleOutcome("cards", "users", False, ("card:5",), 1, (), False),
            pantler.RuleOutcome(
                "pages", "pages", True, (), 0, ("user:5", "team:a", "team:b"), False
            ),
        ),
        duplicate=False,
    )
    assert await client.get_many("users", ["card:5", "badge"]) == {}
    assert await client.get("pages", "about") is None
    [outcome] = (await client.publish_event("shop.moved")).outcomes
    assert outcome.all


async def test_the_same_id_gets_the_first_answer(client: pantler.AsyncClient) -> None:
    event_id = an_id()
    first = await client.publish_event("user.renamed", RENAMED, event_id=event_id)
    await client.set("users", "card:5", b"v")
    again = await client.publish_event("user.renamed", RENAMED, event_id=event_id)
    assert again == pantler.PublishedEvent(first.outcomes, duplicate=True)
    assert await client.get("users", "card:5") is not None
    with pytest.raises(pantler.InvalidArgument) as failed:
        await client.publish_event("user.renamed", {"user": {"id": 6}}, event_id=event_id)
    assert [one.path for one in failed.value.violations] == ["event_id"]


async def test_without_an_id_each_call_is_another_event(client: pantler.AsyncClient) -> None:
    for _ in range(2):
        await client.set("users", "card:5", b"v")
        assert not (await client.publish_event("user.renamed", RENAMED)).duplicate
        assert await client.get("users", "card:5") is None


async def test_a_type_without_a_rule_does_nothing(client: pantler.AsyncClient) -> None:
    published = await client.publish_event("unheard.of", {"a": None}, event_id=an_id())
    assert published == pantler.PublishedEvent((), duplicate=False)


async def test_what_a_rule_can_not_do_with_is_refused(client: pantler.AsyncClient) -> None:
    for wrong in ({}, {"id": 1.5}, {"id": 2**53 + 1}):
        with pytest.raises(pantler.InvalidArgument, match="event rule 'cards' needs it") as failed:
            await client.publish_event("user.renamed", {"user": wrong})
        assert [one.path for one in failed.value.violations] == ["fields.user.id"]
    with pytest.raises(TypeError, match="'id' holds what JSON has no form for"):
        await client.publish_event("user.renamed", {"id": UUID(int=1)})
