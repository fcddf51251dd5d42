"""A target gets what it can forget by: tags, URLs or everything."""

from dataclasses import replace
from typing import Any

from pantler_server.core.cdn_config import NamespaceCdn
from pantler_server.core.namespace import Namespace
from pantler_server.engines.cdn.purge_model import Purge, PurgeState
from pantler_server.store.store import Store

from tests.cdns.test_http_template import Recorder
from tests.engines.purging import a_name, ended, over, purge, queue_length, soon, worker
from tests.servers.fastly import FastlyServer

DONE, FAILED = PurgeState.DONE, PurgeState.FAILED


def only_urls(recorder: Recorder) -> dict[str, Any]:
    http = {"method": "PURGE", "url_url": f"{recorder.url}/?of={{url}}"}
    return {"http": http, "max_requests_per_second": 10_000}


async def test_an_invalidation_purges_the_urls_where_a_target_knows_no_tags(
    store: Store, space: Namespace
) -> None:
    name = a_name()
    urls = ("http://shop.example/{key}",)
    cdn = NamespaceCdn(targets=(name,), urls=urls)
    space = replace(space, config=space.config.model_copy(update={"cdn": cdn}))
    async with Recorder() as recorder, worker(store, **{name: only_urls(recorder)}) as engine:
        keys = [f"k{n}" for n in range(501)]  # tags and URLs are in parts of their own
        for named in (keys[:1], keys):
            recorder.got.clear()
            found = await ended(engine, await engine.purge_keys(space, named, soon()))
            assert (found.state, found.last_error) == (DONE, "")
            asked = {path for _, path, _ in recorder.got}
            assert asked == {f"/?of=http%3A%2F%2Fshop.example%2F{key}" for key in named}
        tags = await engine.purge_tags(space, ["t"], soon())
        found = await ended(engine, tags)
        assert (found.state, found.last_error) == (FAILED, "it can't purge by tag")
        assert await queue_length(store, name) == 0


async def test_a_target_that_can_do_nothing_of_a_purge_says_so_and_the_others_do_it(
    store: Store,
) -> None:
    able, unable = a_name(), a_name()
    async with (
        FastlyServer() as fastly,
        Recorder() as recorder,
        worker(store, **{able: fastly.target, unable: only_urls(recorder)}) as engine,
    ):
        status = await over(engine, await purge(engine, "", "a"))
        assert [one.state for one in status.receipts] == [DONE, FAILED]
        assert [one.last_error for one in status.receipts] == ["", "it can't purge by tag"]
        everything = await engine.purge(Purge(everything=True), soon())
        status = await over(engine, everything.purge_id)
        assert status.receipts[1].last_error == "it can't purge everything"
        assert recorder.got == []
        assert fastly.purged_tags == ["a"]
