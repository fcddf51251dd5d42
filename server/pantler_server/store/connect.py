"""Opens connections to Redis: redis-py finds, secures and authenticates, a `Link` takes over."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pantler_server.core.redis_config import RedisConfig
from pantler_server.store.link import Link, Reply

# What opening a connection can fail with: redis-py's own, the socket's, and the time-out's.
CONNECT_ERRORS = (RedisError, OSError, TimeoutError)

Greeting = Callable[[AbstractConnection], Awaitable[None]]
"""What a new connection does before it is used; it raises a RedisError to refuse the server."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: `host` and `port`, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class Connector:
    """What all connections to the servers of one role have in common."""

    options: Mapping[str, Any] = field(repr=False)
    """Keyword arguments of redis-py's connection: credentials, database, TLS."""
    tls: bool
    timeout: timedelta

    @classmethod
    def of(cls, config: RedisConfig) -> tuple["Connector", Address | None]:
        """The connector of a role and, for a standalone server, its address."""
        options: dict[str, Any] = {"db": config.database}
        address, tls = None, config.tls is not None
        if config.url is not None:
            parsed: dict[str, Any] = dict(parse_url(config.url))
            tls |= parsed.pop("connection_class", None) is SSLConnection
            address = Address(
                parsed.pop("host", "localhost"),
                int(parsed.pop("port", 6379)),
                parsed.pop("path", ""),
            )
            options.update(parsed)
        if config.username is not None:
            options["username"] = config.username
        if config.password is not None:
            options["password"] = config.password.get_secret_value()
        options.update(tls_options(config))
        return cls(options, tls, config.connect_timeout), address

    async def open(
        self,
        address: Address,
        on_lost: Callable[[], None],
        greet: Greeting | None = None,
        on_push: Callable[[list[Reply]], None] | None = None,
    ) -> Link:
        """Opens a link, greeted first if so wished. Raises one of CONNECT_ERRORS within the connect
        time-out."""
        loop = asyncio.get_running_loop()
        connection = self._connection(address)
        async with asyncio.timeout(self.timeout.total_seconds()):
            await connection.connect()
            if greet is not None:
                await greet(connection)
            run_id = await _run_id(connection)
        link = Link(loop, run_id, on_lost, on_push)
        # redis-py has no public way to hand over its socket. Both attributes are read here only,
        # and tests/engines run through this line on every topology, so that a new redis-py shows at
        # once.
        link.take_over(connection._writer)
        connection._reader = connection._writer = None  # its finalizer must not close our socket
        return link

    def _connection(self, address: Address) -> Any:
        seconds = self.timeout.total_seconds()
        options: dict[str, Any] = {
            **self.options,
            "protocol": 3,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
            "client_name": "pantler",
        }
        if address.path:
            return UnixDomainSocketConnection(path=address.path, **options)
        connection = SSLConnection if self.tls else Connection
        return connection(host=address.host, port=address.port, **options)


async def _run_id(connection: AbstractConnection) -> bytes:
    """The beginning of the server's run id. Asked after the greeting, so that it is that of the
    role the server was found in."""
    await connection.send_command("INFO", "server")
    info = await connection.read_response()
    text = info.decode() if isinstance(info, bytes) else str(info)
    found = re.search(r"^run_id:([0-9a-f]{16})", text, re.MULTILINE)
    if found is None:
        raise RedisError("INFO server has no run_id")
    return bytes.fromhex(found[1])


async def require_primary(connection: AbstractConnection) -> None:
    """A greeting that refuses a server that is not (or no longer, or not yet) a primary."""
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] != b"master":
        raise RedisError(f"it is a {role[0].decode()}, not a primary")


async def allow_replica_reads(connection: AbstractConnection) -> None:
    """A greeting that lets a replica of a Cluster answer reads."""
    await connection.send_command("READONLY")
    await connection.read_response()


def tls_options(config: RedisConfig) -> dict[str, Any]:
    """redis-py's keyword arguments for the TLS section, without the choice of TLS itself."""
    if config.tls is None:
        return {}
    files = {
        "ssl_ca_certs": config.tls.ca_file,
        "ssl_certfile": config.tls.cert_file,
        "ssl_keyfile": config.tls.key_file,
    }
    return {
        "ssl_check_hostname": config.tls.check_hostname,
        **{option: str(path) for option, path in files.items() if path is not None},
    }
