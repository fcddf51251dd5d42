"""What all targets need of HTTP: one client for a worker, time-outs, and errors as `target.py` has
them."""

import asyncio
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import aiohttp
from werkzeug.http import parse_date
from yarl import URL

from pantler_server.cdns.target import TargetFailed, TargetRefused
from pantler_server.core.duration import format_duration

MAX_ANSWER_BYTES = 64 << 10  # of an answer that only says whether it is done
MAX_SAID_CHARACTERS = 200  # of what a target says, which ends up in receipts and trailers
MAX_RETRY_AFTER_S = 3600.0  # a target that asks for more is asked again nonetheless
ATTEMPTS = 2  # over a connection that the target was about to close, the first is lost

# With these a later attempt may succeed.
_OF_RIGHTS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_TELLING = ("text/plain", "application/json", "application/problem+json")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[\w.~:\[\]-]+)(?P<target>([/?][^#\s]*)?)(#\S*)?",
    re.ASCII | re.IGNORECASE,
)

Body = bytes | str | Callable[[], aiohttp.FormData] | None
"""Of a request. A form is made anew for each attempt: it can be sent once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target answered."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> str:
        """Its words, where it has some for people: the reason of its status, and a short body."""
        reason = self.reason or _phrase(self.status)
        if self.headers.get("Content-Type", "").split(";")[0].strip().lower() in _TELLING:
            text = self.body[: 4 * MAX_SAID_CHARACTERS].decode("utf-8", "replace").strip()
            return f"{reason}: {text}" if text and text != reason else reason
        return reason

    @property
    def document(self) -> dict[str, Any]:
        """Its body, if that is a JSON object; else an empty one."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


class Session:
    """The HTTP client that all targets of a worker share. Opened at its first use: it is tied to
    the event loop that runs then."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def client(self) -> aiohttp.ClientSession:
        if self._closed:
            raise TargetFailed("the worker stops")
        if self._client is None:
            self._client = aiohttp.ClientSession(
                # Each target bounds what it sends at once: none waits for another that hangs.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "pantler"},
            )
        return self._client

    async def close(self) -> None:
        """Requests under way fail, and later ones too."""
        self._closed = True
        if self._client is not None:
            await self._client.close()


class Link:
    """The way to one target.

    `secrets` never stand in a message, whatever the target says. `said` finds the words of an
    answer that is no success, `patience_s` for how long it asks to be left alone.
    """

    def __init__(
        self,
        session: Session,
        timeout: timedelta,
        secrets: Collection[str] = (),
        said: Callable[[Answer], str] = lambda answer: answer.said,
        patience_s: Callable[[Answer], float] = lambda answer: retry_after_s(answer.headers),
    ) -> None:
        self._session = session
        self._timeout = timeout
        # The parts of `Bearer abc` too; what is short is no secret, and stands in any text.
        parts = {part for one in secrets for part in (one, *one.split())}
        self._secrets = sorted((one for one in parts if len(one) >= 8), key=len, reverse=True)
        self._said = said
        self._patience_s = patience_s

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
        passes: Collection[int] = (),
    ) -> Answer:
        """The answer if its status is 2xx, or one of `passes`; else raises TargetRefused or
        TargetFailed. `url` is sent as it is. Of a longer answer `max_bytes` are given, and one
        more. What is asked must be idempotent: it may be sent twice."""
        if not _is_visible(url) or " " in url:
            raise TargetRefused("the URL of the request would be malformed")
        if not all(map(_is_visible, headers.values())):
            raise TargetRefused("a header of the request would be malformed")
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                answer = await self._answer(method, url, headers, body, max_bytes)
        except TimeoutError:
            raise TargetFailed(f"no answer within {format_duration(self._timeout)}") from None
        if answer.status // 100 == 2 or answer.status in passes:
            return answer
        raise self.error(answer)

    def error(self, answer: Answer) -> TargetRefused | TargetFailed:
        """What an answer that is no success means."""
        message = f"{answer.status}: {self._clean(self._said(answer))}"
        if answer.status in _PASSING or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return TargetFailed(message, self._patience_s(answer))
        return TargetRefused(message, of_rights=answer.status in _OF_RIGHTS)

    async def _answer(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, max_bytes: int
    ) -> Answer:
        attempt = 1
        while True:
            try:
                return await self._attempt(method, url, headers, body, max_bytes)
            except aiohttp.InvalidURL:
                raise TargetRefused("the URL of the request would be malformed") from None
            except (aiohttp.ClientError, OSError) as exc:
                if attempt == ATTEMPTS or not _was_cut(exc):
                    raise TargetFailed(_why(exc)) from exc
            attempt += 1

    async def _attempt(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, max_bytes: int
    ) -> Answer:
        async with self._session.client.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=body() if callable(body) else body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(),  # that of `send` bounds it
        ) as response:
            content = await _read(response.content, max_bytes)
            return Answer(response.status, response.reason or "", response.headers, content)

    def _clean(self, text: str) -> str:
        """On one line, not too long, without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        return text[:MAX_SAID_CHARACTERS]


def retry_after_s(headers: Mapping[str, str]) -> float:
    """What Retry-After says (RFC 9110 section 10.2.3: seconds, or a date); 0 if nothing or
    nonsense."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said[:10]), MAX_RETRY_AFTER_S)
    try:
        date = parse_date(said)
    except OverflowError:  # in the year 99999999999
        return 0.0
    return until(date.timestamp()) if date is not None else 0.0


def until(unix_s: float) -> float:
    """How long it is until then; a target that asks for very long is given less."""
    return min(max(unix_s - time.time(), 0.0), MAX_RETRY_AFTER_S)


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, host with port, and path with query of an absolute URL, in ASCII, as they stand in a
    request. Raises TargetRefused for what is none: it could become another request."""
    if not url.isascii() and url.isprintable():
        try:
            url = str(URL(url))  # IDNA, and percent-encoded UTF-8
        except ValueError:
            raise TargetRefused(f"{url[:MAX_SAID_CHARACTERS]!r} is not an absolute URL") from None
    found = _URL.fullmatch(url)
    if found is None or not url.isprintable():
        raise TargetRefused(f"{url[:MAX_SAID_CHARACTERS]!r} is not an absolute URL")
    target = found["target"]
    if not target.startswith("/"):
        target = f"/{target}"
    return found["scheme"].lower(), found["authority"], target


async def _read(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) > max_bytes:
            break
    return bytes(read[: max_bytes + 1])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason"


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _was_cut(exc: Exception) -> bool:
    """Whether a connection was lost that stood; it may have been idle for too long."""
    cut = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)
    return isinstance(exc, cut) and not isinstance(exc, aiohttp.ClientConnectorError)


def _why(exc: Exception) -> str:
    """Never the URL: it may have a secret in it."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            error = exc.certificate_error
            said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
            return f"its certificate is not accepted: {said or 'it does not hold'}"
        case aiohttp.ClientConnectorDNSError():
            return f"can't find {exc.host}"
        case aiohttp.ClientConnectorError():
            code = exc.os_error.errno  # None if it has several addresses
            reason = os.strerror(code) if code else "no address of it answers"
            return f"can't connect to {exc.host}:{exc.port}: {reason}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            return "the connection was lost"
        case aiohttp.ClientPayloadError():
            return "the connection was lost amid the answer"
    return f"no answer of HTTP ({type(exc).__name__})"
