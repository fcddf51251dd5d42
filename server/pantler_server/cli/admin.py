"""`pantler ping` and `namespaces`."""

import time
from typing import TYPE_CHECKING

import typer

from pantler_server.cli.call import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT,
    Address,
    Json,
    Timeout,
    channel,
    print_json,
    seconds,
)
from pantler_server.cli.exit_code import ExitCode
from pantler_server.core.duration import format_duration

if TYPE_CHECKING:
    from pantler.v1 import admin_pb2


def ping(
    address: Address = DEFAULT_ADDRESS, timeout: Timeout = DEFAULT_TIMEOUT, json: Json = False
) -> None:
    """Ask a server how it is. The exit code is 3 if it is not ready to take calls."""
    from pantler.v1 import admin_pb2, admin_pb2_grpc

    with channel(address) as opened:
        began = time.perf_counter()
        health = admin_pb2_grpc.AdminServiceStub(opened).GetHealth(
            admin_pb2.GetHealthRequest(), timeout=seconds(timeout, "--timeout")
        )
        took_ms = (time.perf_counter() - began) * 1000
    if json:
        from google.protobuf.json_format import MessageToDict

        document = MessageToDict(
            health, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        print_json({**document, "round_trip_ms": round(took_ms, 3)})
    else:
        state = "ready" if health.ready else "not ready"
        print(f"{address} {state}, Pantler {health.server_version}, {took_ms:.1f} ms")
        for store in health.stores:
            print(f"  redis ({store.role}): {_store(store)}")
        for origin in health.origins:
            print(f"  origin of {origin.namespace}: {_origin(origin)}")
        for namespace in health.warming:
            print(f"  being warmed before it is ready: {namespace}")
    if not health.ready:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def namespaces(
    address: Address = DEFAULT_ADDRESS, timeout: Timeout = DEFAULT_TIMEOUT, json: Json = False
) -> None:
    """List the namespaces that are configured or were used."""
    from google.protobuf.json_format import MessageToDict
    from pantler.v1 import admin_pb2, admin_pb2_grpc

    with channel(address) as opened:
        answer = admin_pb2_grpc.AdminServiceStub(opened).ListNamespaces(
            admin_pb2.ListNamespacesRequest(), timeout=seconds(timeout, "--timeout")
        )
    if json:
        document = MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        print_json(document["namespaces"])
        return
    from rich.console import Console
    from rich.table import Column, Table

    from pantler_server.core.setting_types import format_bytes

    name = Column("namespace", overflow="fold")  # a long one is still shown as a whole
    table = Table(name, "configured", "partitions", "ttl", "max ttl", "max value", box=None)
    for namespace in answer.namespaces:
        table.add_row(
            namespace.name,
            "yes" if namespace.configured else "no",
            str(namespace.partitions or "not used yet"),
            format_duration(namespace.config.ttl.ToTimedelta()),
            format_duration(namespace.config.max_ttl.ToTimedelta()),
            format_bytes(namespace.config.max_value_bytes),
        )
    Console().print(table)


def _store(store: "admin_pb2.StoreHealth") -> str:
    state = "available" if store.available else "not available"
    parts = [f"{store.topology}, {state}", *store.primaries]
    return "; ".join([*parts, store.detail] if store.detail else parts)


def _origin(origin: "admin_pb2.OriginHealth") -> str:
    state = "available" if origin.available else "not available"
    return f"{state}; {origin.detail}" if origin.detail else state
