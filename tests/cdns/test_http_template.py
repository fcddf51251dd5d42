"""Targets by template, against a server that writes down what it was sent."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import pytest_asyncio
from aiohttp import web
from pantler_server.cdns.open import Targets
from pantler_server.cdns.target import Batch, TargetFailed, TargetRefused

from tests.cdns.targets import targets
from tests.servers.valkey import free_port


@dataclass
class Recorder:
    """A server that answers `status`, and `text` with it."""

    status: int = 200
    text: str = ""
    content_type: str = "text/plain"
    reason: str | None = None
    got: list[tuple[str, str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.port = free_port()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.got.append((request.method, request.raw_path, await request.text()))
        self.headers.append(dict(request.headers))
        return web.Response(
            status=self.status,
            reason=self.reason,
            text=self.text,
            content_type=self.content_type,
        )


@pytest_asyncio.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with Recorder() as running:
        yield running


@pytest_asyncio.fixture
async def opened(recorder: Recorder) -> AsyncIterator[Targets]:
    def template(**config: Any) -> dict[str, Any]:
        return {"http": config}

    running = targets(
        urls=template(
            method="PURGE",
            headers={"X-Key": "the secret of the proxy"},
            tag_url=f"{recorder.url}/tag/{{tag}}/?soft={{soft}}",
            url_url=f"{recorder.url}/url?of={{url}}",
            all_url=f"{recorder.url}/all/",
        ),
        bodies=template(
            headers={"Authorization": "Bearer the-secret-token"},
            tag_url=f"{recorder.url}/purge",
            url_url=f"{recorder.url}/purge",
            body='{"tag": "{tag}", "url": "{url}", "other": {"x": 1}}',
        ),
    )
    yield running
    await running.stop()


async def test_what_goes_into_a_url_is_escaped(opened: Targets, recorder: Recorder) -> None:
    target = opened.of("urls")
    assert target.can_soft
    await target.purge(Batch(tags=["a/../b?c#d%20{url}", "\u00e4"], soft=True))
    await target.purge(Batch(urls=["https://shop.example/a?b=c&d"]))
    await target.purge(Batch(everything=True))
    assert recorder.got == [
        ("PURGE", "/tag/a%2F..%2Fb%3Fc%23d%2520%7Burl%7D/?soft=1", ""),
        ("PURGE", "/tag/%C3%A4/?soft=1", ""),
        ("PURGE", "/url?of=https%3A%2F%2Fshop.example%2Fa%3Fb%3Dc%26d", ""),
        ("PURGE", "/all/", ""),
    ]
    assert [one["X-Key"] for one in recorder.headers] == ["the secret of the proxy"] * 4


async def test_what_goes_into_a_body_is_escaped(opened: Targets, recorder: Recorder) -> None:
    target = opened.of("bodies")
    assert not target.can_soft
    await target.purge(Batch(tags=['a"}, {url} \\ \r\n']))
    await target.purge(Batch(urls=["https://shop.example/"]))
    [tag, url] = [json.loads(body) for _, _, body in recorder.got]
    assert tag == {"tag": 'a"}, {url} \\ \r\n', "url": "", "other": {"x": 1}}
    assert url == {"tag": "", "url": "https://shop.example/", "other": {"x": 1}}
    assert [one["Content-Type"] for one in recorder.headers] == ["application/json"] * 2
    assert [method for method, _, _ in recorder.got] == ["POST"] * 2


async def test_what_it_has_no_template_for_is_refused(opened: Targets, recorder: Recorder) -> None:
    with pytest.raises(TargetRefused, match=r"^it can't purge that: it has no all_url$"):
        await opened.of("bodies").purge(Batch(everything=True))
    assert recorder.got == []


async def test_its_words_are_told_without_secrets(opened: Targets, recorder: Recorder) -> None:
    recorder.status = 403
    recorder.text = "no:\r\n\x1b[31mBearer the-secret-token and the-secret-token\x00 " + "x" * 5000
    with pytest.raises(TargetRefused) as refused:
        await opened.of("bodies").purge(Batch(tags=["a"]))
    said = str(refused.value)
    assert said.startswith("403: Forbidden: no: [31m*** and *** xxx")
    assert said.isprintable()
    assert len(said) < 300


async def test_pages_for_people_are_not_told(opened: Targets, recorder: Recorder) -> None:
    recorder.status, recorder.text, recorder.content_type = 502, "<html>" * 100_000, "text/html"
    with pytest.raises(TargetFailed) as failed:
        await opened.of("urls").purge(Batch(tags=["a"]))
    assert str(failed.value) == "502: Bad Gateway"
    assert failed.value.retry_after_s == 0
