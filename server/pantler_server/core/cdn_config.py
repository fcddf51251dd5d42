"""CDNs and proxies in the configuration: what they are, how they are reached, and what a namespace
has to do with them."""

import re
from collections.abc import Iterator
from datetime import timedelta
from hashlib import blake2b
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializationInfo,
    field_serializer,
    model_validator,
)

from pantler_server.core.duration import MILLISECOND
from pantler_server.core.setting_types import (
    REVEAL_SECRETS,
    Duration,
    Problem,
    hide_password,
    refuse,
    revealed,
)

TEN_YEARS = timedelta(days=3650)
HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"
"""A token of RFC 9110 section 5.6.2; `*` too, which Vary may have."""


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")) or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} must be a URL that begins with http:// or https://")
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port, or an IPv6 address
        named = False
    if not named:
        raise ValueError(f"{value!r} must name a host, as https://cdn.example")
    return value


def _base_url(value: str) -> str:
    return _http_url(value).rstrip("/")


def _server_url(value: str) -> str:
    value = _base_url(value)
    if urlsplit(value)[2:] != ("", "", "") or "@" in value:
        raise ValueError(f"{value!r} must be a server and no more, as http://10.0.0.5:6081")
    return value


def _entry_url(value: str) -> str:
    host = _http_url(value).split("/")[2].partition("?")[0]
    if "{" in host or "}" in host or "@" in host or "\\" in value:
        raise ValueError(f"{hide_password(value)!r} must name a host as it is, without a user")
    others = sorted(set(_PLACE.findall(value)) - {"{key}"})
    if others:
        raise ValueError(f"{value!r} has {', '.join(others)}: only {{key}} is filled in")
    if "{key}" not in value.partition("#")[0]:
        raise ValueError(f"{value!r} must have {{key}} in its path or query")
    return value


def _header_text(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("must be printable ASCII")
    return value


def _header_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or text != text.strip():
        raise ValueError("must not be empty, nor begin or end with a space")
    _header_text(text)
    return value


_PLACE = re.compile(r"\{[^{}]*\}")
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})

HttpUrl = Annotated[str, AfterValidator(_http_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""What paths are put behind; kept without a slash at its end."""
EntryUrl = Annotated[str, AfterValidator(_entry_url)]
"""What shows an entry: `{key}` stands for its key."""
ServerUrl = Annotated[str, AfterValidator(_server_url)]
"""A scheme, a host and maybe a port."""
HeaderText = Annotated[str, AfterValidator(_header_text)]
HeaderName = Annotated[str, Field(pattern=HEADER_NAME)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]
"""A secret that goes into a header."""
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Seconds = Annotated[Duration, Field(ge=timedelta(0), le=TEN_YEARS)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CloudflareTarget(_Section):
    """A zone of Cloudflare, and a namespace of its Workers KV."""

    zone: Id
    """The id of the zone."""
    token: HeaderSecret
    """An API token that may purge the zone's cache, and edit Workers KV storage."""
    plan: Literal["free", "pro", "business", "enterprise"] = "free"
    """The zone's plan, on which it depends how much may be purged in a second."""
    account: Id | None = None
    """The id of the account; for the edge store."""
    kv_namespace: Id | None = None
    """The id of the Workers KV namespace; for the edge store."""
    api: BaseUrl = "https://api.cloudflare.com/client/v4"

    @field_serializer("token", when_used="json")
    def _hide_token(self, value: SecretStr, info: SerializationInfo) -> str:
        return value.get_secret_value() if revealed(info) else str(value)

    @model_validator(mode="after")
    def _edge_store_is_whole(self) -> "CloudflareTarget":
        if (self.account is None) != (self.kv_namespace is None):
            raise ValueError("account and kv_namespace go together: the edge store needs both")
        return self


class FastlyTarget(_Section):
    """A service of Fastly."""

    service: Id
    """The id of the service."""
    token: HeaderSecret
    """An API token with the scope to purge (purge_select, and purge_all for everything)."""
    api: BaseUrl = "https://api.fastly.com"

    @field_serializer("token", when_used="json")
    def _hide_token(self, value: SecretStr, info: SerializationInfo) -> str:
        return value.get_secret_value() if revealed(info) else str(value)


class VarnishTarget(_Section):
    """Varnish servers with the xkey module, and a VCL that takes PURGE (docs/cdn.md has one)."""

    servers: tuple[ServerUrl, ...] = Field(min_length=1, max_length=100)
    """Each of them, as http://10.0.0.5:6081: all must purge."""
    host: HeaderText | None = None
    """The Host of its requests for tags and for everything; unset: the server's."""


class HttpTarget(_Section):
    """Anything that purges by an HTTP request, one for each tag or URL. In the templates `{tag}`,
    `{url}` and `{soft}` (1 or 0) stand for what is purged; what goes into a URL is escaped for it.
    If none has `{soft}`, it only knows hard purges."""

    method: Literal["GET", "POST", "PUT", "DELETE", "PURGE", "BAN"] = "POST"
    headers: dict[HeaderName, HeaderSecret] = {}
    """Of every request, a token for example."""
    tag_url: HttpUrl | None = None
    """Where one tag is purged, as https://cdn.example/purge/tag/{tag}; unset: it can't."""
    url_url: HttpUrl | None = None
    """Where one URL is purged; unset: it can't."""
    all_url: HttpUrl | None = None
    """Where everything is purged; unset: it can't."""
    body: str | None = None
    """The body of every request, a template too: values are escaped for JSON strings. It is
    application/json if `headers` has no Content-Type."""

    @field_serializer("headers", when_used="json")
    def _hide_headers(self, value: dict[str, SecretStr], info: SerializationInfo) -> dict[str, str]:
        shown = SecretStr.get_secret_value if revealed(info) else str
        return {name: shown(text) for name, text in value.items()}

    @model_validator(mode="after")
    def _can_purge_something(self) -> "HttpTarget":
        if self.tag_url is None and self.url_url is None and self.all_url is None:
            raise ValueError("give at least one of tag_url, url_url and all_url")
        refuse("HttpTarget", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        for name, mark in (("tag_url", "{tag}"), ("url_url", "{url}")):
            url = getattr(self, name)
            if url is not None and mark not in url and mark not in (self.body or ""):
                yield (name,), f"has no {mark}, and nor has the body: it would purge nothing"
        for header in self.headers:
            if header.lower() in _FRAMING:
                yield ("headers", header), "is made of the request: leave it out"


class CdnTarget(_Section):
    """A CDN or proxy that keeps responses: one of `cloudflare`, `fastly`, `varnish` and `http`."""

    cloudflare: CloudflareTarget | None = None
    fastly: FastlyTarget | None = None
    varnish: VarnishTarget | None = None
    http: HttpTarget | None = None
    timeout: Duration = Field(timedelta(seconds=10), ge=MILLISECOND, le=timedelta(minutes=5))
    """How long one request may take."""
    max_requests_per_second: float | None = Field(None, gt=0, le=10_000)
    """How many requests purges may send it in a second; unset: what the vendor documents."""

    @model_validator(mode="after")
    def _one_kind(self) -> "CdnTarget":
        kinds = ("cloudflare", "fastly", "varnish", "http")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError("give one of cloudflare, fastly, varnish and http")
        return self

    def fingerprint(self) -> bytes:
        """What tells two configurations of a target apart, secrets too; they can't be had of it."""
        document = self.model_dump_json(context={REVEAL_SECRETS: True})
        return blake2b(document.encode(), digest_size=8).hexdigest().encode()


class NamespaceCdn(_Section):
    """Which targets keep what is made of a namespace's entries."""

    targets: tuple[str, ...] = Field(min_length=1, max_length=16)
    """The names of targets that the namespace's invalidations purge."""
    urls: tuple[EntryUrl, ...] = Field((), max_length=16)
    """URLs that show an entry, as https://shop.example/products/{key}: an invalidation of the key
    purges them, beside its tag."""
    delay: Duration = Field(timedelta(milliseconds=500), ge=timedelta(0), le=timedelta(minutes=1))
    """How long after an invalidation its purge is sent, and by `l1.max_staleness` later where the
    namespace has a first level: an answer on its way to the CDN for up to that time is purged
    too."""

    @model_validator(mode="after")
    def _each_target_once(self) -> "NamespaceCdn":
        refuse("NamespaceCdn", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        for index, name in enumerate(self.targets):
            if name in self.targets[:index]:
                yield ("targets", index), f"{name!r} stands here twice"


class HttpPolicy(_Section):
    """How the entries of a namespace are served over HTTP, and how long others may keep them."""

    visibility: Literal["public", "private"] = "public"
    max_age: Seconds | None = None
    """How long a response is fresh, but never past its entry; unset: as long as the entry."""
    s_maxage: Seconds | None = None
    """The same for CDNs and proxies."""
    cdn_max_age: Seconds | None = None
    """The same for CDNs alone, in CDN-Cache-Control (RFC 9213)."""
    immutable: bool = False
    """Whether a response never changes while it is fresh."""
    must_revalidate: bool = False
    """Whether a stale one must be asked for again."""
    stale_while_revalidate: Seconds | None = None
    """How long a stale one may be given while it is asked for again."""
    stale_if_error: Seconds | None = None
    """How long a stale one may be given if asking fails."""
    no_store: bool = False
    """Whether nobody may keep it."""
    vary: tuple[HeaderName, ...] = Field((), max_length=16)
    """Request headers on which responses depend."""
    not_found_max_age: Seconds = timedelta(seconds=5)
    """How long it may be kept that there is no entry."""

    @model_validator(mode="after")
    def _holds_together(self) -> "HttpPolicy":
        refuse("HttpPolicy", self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        lifetimes = ("max_age", "s_maxage", "cdn_max_age")
        graces = ("stale_while_revalidate", "stale_if_error")
        if self.no_store:
            for name in (*lifetimes, *graces, "immutable", "must_revalidate"):
                if getattr(self, name):
                    yield (name,), "is of no use with no_store"
        if self.visibility == "private":
            for name in ("s_maxage", "cdn_max_age"):
                if getattr(self, name) is not None:
                    yield (name,), "is for those who may not keep it: visibility is private"
