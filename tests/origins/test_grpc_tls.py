"""A service as origin through TLS."""

import asyncio
from pathlib import Path

import pytest
from pantler_server.core.errors import (
    OriginNotReady,
    OriginUnavailable,
)
from pantler_server.origins import grpc as grpc_origin
from pantler_server.origins.grpc import Channels, GrpcOrigin

from tests.origins.test_grpc import ADA, config, soon, write
from tests.servers.certificates import Certificates
from tests.servers.origin_service import OriginService


@pytest.mark.component("openssl")
async def test_a_service_is_reached_through_tls() -> None:
    with Certificates() as made:
        async with OriginService(tls=made.server) as service:
            service.put("ada", **ADA)
            origin = GrpcOrigin("users", config(service.target, ca_file=made.ca), Channels())
            await origin.start()
            assert await origin.load("ada", soon()) == ADA
            assert (await origin.store(write("ada", 1, n=1), soon())).record == {"n": 1}
            await origin.stop()
            plain = GrpcOrigin("users", config(service.target), Channels())
            await plain.start()
            with pytest.raises(OriginUnavailable):
                await plain.load("ada", soon())
            await plain.stop()


@pytest.mark.component("openssl")
async def test_an_authority_that_is_no_file_is_a_problem_until_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_origin, "OPEN_INTERVAL_S", 0.01)
    ca_file = tmp_path / "ca.crt"
    with Certificates() as made:
        async with OriginService(tls=made.server) as service:
            origin = GrpcOrigin("users", config(service.target, ca_file=ca_file), Channels())
            await origin.start()
            assert (
                origin.problem == f"the ca_file {ca_file} can't be used: No such file or directory"
            )
            with pytest.raises(OriginNotReady, match=r"ca\.crt can't be used"):
                await origin.load("ada", soon())
            ca_file.write_text("nothing of use")
            async with asyncio.timeout(5):
                while "No such file" in origin.problem:
                    await asyncio.sleep(0.01)
            assert "no certificate" in origin.problem.lower()
            ca_file.write_bytes(made.ca.read_bytes())
            async with asyncio.timeout(5):
                while origin.problem:
                    await asyncio.sleep(0.01)
            assert await origin.load("ada", soon()) is None
            await origin.stop()
