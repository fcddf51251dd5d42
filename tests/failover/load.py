"""A steady load of reads and writes, which notes what each call came to and when."""

import asyncio
from collections import Counter
from typing import Any, Self

import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pantler.v1 import cache_pb2, cache_pb2_grpc

CALL_TIMEOUT_S = 2.0


def _retry_delay_s(failure: grpc.aio.AioRpcError) -> float:
    """As long as RetryInfo asks for; a moment where there is none."""
    status = rpc_status.from_call(failure)  # type: ignore[arg-type]  # it reads what both kinds have
    retry = error_details_pb2.RetryInfo()
    if status is None or not any(detail.Unpack(retry) for detail in status.details):
        return 0.01
    return float(retry.retry_delay.ToTimedelta().total_seconds())


class Load:
    """Sets a key and reads it back, over and over, from several callers, until the block ends."""

    def __init__(self, address: str, namespace: str = "load", callers: int = 4) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._cache: Any = cache_pb2_grpc.CacheServiceStub(self._channel)
        self._namespace = namespace
        self._callers = callers
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = False
        self.codes: Counter[grpc.StatusCode] = Counter()
        self.failures: list[grpc.aio.AioRpcError] = []
        self.wrong_answers: list[tuple[str, bytes, bytes]] = []
        self.stored_since = 0
        """Sets that succeeded since it was last set to 0."""

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(self._callers)]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)
        await self._channel.close()

    async def until_stored(self, count: int, timeout_s: float) -> None:
        """Waits for this many more successful Sets."""
        self.stored_since = 0
        async with asyncio.timeout(timeout_s):
            while self.stored_since < count:
                await asyncio.sleep(0.01)

    async def _run(self, number: int) -> None:
        turn = 0
        while not self._stop:
            turn += 1
            key, value = f"caller{number}:{turn % 50}", str(turn).encode()
            if await self._set(key, value):
                self.stored_since += 1
                await self._get(key, value)
            else:
                await asyncio.sleep(_retry_delay_s(self.failures[-1]))

    async def _set(self, key: str, value: bytes) -> bool:
        request = cache_pb2.SetRequest(namespace=self._namespace, key=key, value=value)
        return await self._try(self._cache.Set(request, timeout=CALL_TIMEOUT_S)) is not None

    async def _get(self, key: str, value: bytes) -> None:
        request = cache_pb2.GetRequest(namespace=self._namespace, key=key)
        answer = await self._try(self._cache.Get(request, timeout=CALL_TIMEOUT_S))
        if answer is not None and answer.HasField("hit") and answer.hit.entry.value != value:
            self.wrong_answers.append((key, value, answer.hit.entry.value))

    async def _try(self, call: Any) -> Any:
        try:
            answer = await call
        except grpc.aio.AioRpcError as exc:
            self.codes[exc.code()] += 1
            self.failures.append(exc)
            return None
        self.codes[grpc.StatusCode.OK] += 1
        return answer
