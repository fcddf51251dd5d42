"""A Pantler whose namespaces are served over HTTP."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pantler
import pytest
import pytest_asyncio

from tests.servers.pantler import PantlerServer
from tests.servers.people import make_people

CONFIG = """
namespaces:
  pages: {{http: {{}}}}
  short:
    http:
      {{max_age: 5s, s_maxage: 20s, cdn_max_age: 1m, stale_while_revalidate: 30s, vary: [Accept]}}
    cdn: {{targets: [varnish]}}
  gracious: {{http: {{max_age: 1m}}, stale_while_revalidate: 1h}}
  personal: {{http: {{visibility: private, max_age: 1m, not_found_max_age: 1m}}}}
  unkept: {{http: {{no_store: true}}, cdn: {{targets: [varnish]}}}}
  plain: {{}}
  people: {{http: {{max_age: 1m}}, origin: {{sql: {{url: "sqlite:///{file}", table: people}}}}}}
  ids: {{http: {{}}, origin: {{sql: {{url: "sqlite:///{file}", table: numbers}}}}}}
  gone: {{http: {{}}, origin: {{sql: {{url: "sqlite:///{file}", table: nothing}}}}}}
  away: {{http: {{}}, origin: {{grpc: {{target: "127.0.0.1:1"}}}}}}
cdn_targets: {{varnish: {{varnish: {{servers: ["http://127.0.0.1:1"]}}}}}}
"""


@pytest_asyncio.fixture(scope="package")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PantlerServer]:
    """Tests take keys of their own."""
    folder: Path = tmp_path_factory.mktemp("edge")
    make_people(folder / "people.db")
    with closing(sqlite3.connect(folder / "people.db")) as database:
        database.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, name TEXT)")
    config = folder / "pantler.yaml"
    config.write_text(CONFIG.format(file=folder / "people.db"))
    async with PantlerServer(config=config) as running:
        yield running


@pytest_asyncio.fixture(scope="package")
async def client(gateway: PantlerServer) -> AsyncIterator[pantler.AsyncClient]:
    async with pantler.AsyncClient(gateway.address) as opened:
        yield opened


@pytest.fixture
def http(gateway: PantlerServer) -> str:
    return gateway.http_address
