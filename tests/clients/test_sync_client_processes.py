"""`pantler.Client` over forks, and at the end of a program that leaves it open."""

import os
import subprocess
import sys
import textwrap
from itertools import count

import pytest

from tests.servers.pantler import PantlerServer

_numbers = count()

HEAD = """
import os, signal, sys, threading, time
import pantler

signal.alarm(30)
address, namespace = sys.argv[1:]

def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        work()
        print("child is done", flush=True)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0

def refused(call):
    began = time.monotonic()
    try:
        call()
    except pantler.ForkedClient as exc:
        assert time.monotonic() - began < 1
        print("refused:", exc, flush=True)
"""


@pytest.fixture(params=[None, "true"])
def run(request: pytest.FixtureRequest, server: PantlerServer):  # type: ignore[no-untyped-def]
    """Runs a program, with gRPC's own fork handlers as they are or all; what it printed."""
    env = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    del env["GRPC_ENABLE_FORK_SUPPORT"]  # conftest.py has put them off
    if request.param is not None:
        env["GRPC_ENABLE_FORK_SUPPORT"] = request.param

    command = (sys.executable, "-c")

    def run(program: str) -> str:
        namespace = f"processes{next(_numbers)}"
        done = subprocess.run(
            [*command, HEAD + textwrap.dedent(program), server.address, namespace],
            env=env,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    return run


# With its fork handlers on, gRPC itself may crash in the child of a process that it is busy in.
@pytest.mark.parametrize("run", ["false"], indirect=True)
def test_a_client_that_was_used_before_a_fork_fails_at_once_in_the_child(run) -> None:  # type: ignore[no-untyped-def]
    out = run("""
        client = pantler.Client(address)
        client.set(namespace, "k", b"v")
        in_child(lambda: refused(lambda: client.get(namespace, "k")))
        in_child(lambda: refused(lambda: pantler.Client(address).get(namespace, "k")))
        in_child(client.close)
        assert client.get(namespace, "k").value == b"v"
    """)
    assert out.count("refused: this process was forked") == 2
    assert out.count("child is done") == 3


def test_a_client_that_was_made_before_a_fork_works_on_both_sides(run) -> None:  # type: ignore[no-untyped-def]
    out = run("""
        client = pantler.Client(address)
        limited = client.rate_limited(
            pantler.RateLimitRule("token_bucket", 9, __import__("datetime").timedelta(1)),
            subject="x",
        )(lambda: 7)

        def work():
            client.set(namespace, "k", b"v")
            assert limited() == 7

        in_child(work)
        in_child(work)
        assert client.get(namespace, "k").value == b"v"
    """)
    assert out.count("child is done") == 2


def test_a_client_that_was_closed_before_a_fork_leaves_gRPC_to_the_child(run) -> None:  # type: ignore[no-untyped-def]
    run("""
        before = pantler.Client(address)
        before.set(namespace, "k", b"v")
        before.close()

        def work():
            with pantler.Client(address) as client:
                assert client.get(namespace, "k").value == b"v"

        in_child(work)
        work()
    """)


def test_so_does_an_asynchronous_one_that_was_closed_and_is_kept(run) -> None:  # type: ignore[no-untyped-def]
    run("""
        import asyncio

        async def before():
            client = pantler.AsyncClient(address)
            await client.set(namespace, "k", b"v")
            await client.describe(namespace, "k")
            await client.close()
            return client

        def work():
            with pantler.Client(address) as client:
                assert client.get(namespace, "k").value == b"v"

        closed = asyncio.run(before())
        in_child(work)
        assert "closed" in repr(closed)
    """)


def test_processes_of_a_pool_have_their_own_clients(run) -> None:  # type: ignore[no-untyped-def]
    run("""
        import multiprocessing

        client = pantler.Client(address)

        def work(number):
            client.set(namespace, str(number), b"v")
            return os.getpid()

        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert os.getpid() not in pool.map(work, range(20))
        assert len(client.get_many(namespace, map(str, range(20)))) == 20
    """)


def test_a_program_ends_with_its_client_left_open(run) -> None:  # type: ignore[no-untyped-def]
    run("""
        client = pantler.Client(address)
        client.set(namespace, "k", b"v")
        watch = iter(client.watch_invalidations(namespace))
        next(watch)
    """)


def test_a_program_ends_with_calls_under_way(run) -> None:  # type: ignore[no-untyped-def]
    out = run("""
        client = pantler.Client(address)

        def follow():
            try:
                for _ in client.subscribe(namespace, "news"):
                    pass
            except pantler.PantlerError as exc:
                assert "closed" in str(exc)

        def fetch():
            time.sleep(60)
            return b"late"

        for work in (follow, lambda: client.get_or_set(namespace, "k", fetch)):
            threading.Thread(target=work, daemon=True).start()
        client.get(namespace, "x")
        time.sleep(0.2)
        print("ends")
    """)
    assert out == "ends\n"
