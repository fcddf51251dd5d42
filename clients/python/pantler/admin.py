"""The calls of AdminService that services make."""

from collections.abc import Iterable
from functools import cached_property

from pantler.batch import listed
from pantler.connection import Connection
from pantler.errors import answer_to
from pantler.model import HotKey
from pantler.v1 import admin_pb2, admin_pb2_grpc
from pantler.warming import Warming


class AdminCalls(Connection):
    """What a client asks of how a namespace is used."""

    async def list_hot_keys(self, namespace: str, *, limit: int = 100) -> tuple[HotKey, ...]:
        """The keys that were read most in the last 5 minutes, most read first; at most 1,000.

        From samples of the reads that reached a server: what this client answers by itself is not
        among them.
        """
        request = admin_pb2.ListHotKeysRequest(namespace=namespace, limit=limit)
        answer = await answer_to(self._admin_service.ListHotKeys, request, self._timeout_s)
        return tuple(HotKey(one.key, one.reads_per_second, hot=one.hot) for one in answer.keys)

    def warm(
        self,
        namespace: str,
        *,
        keys: Iterable[str] | None = None,
        all: bool = False,  # noqa: A002
        hot: bool = False,
        keys_per_second: int | None = None,
        resume_token: str = "",
    ) -> Warming:
        """Loads records of a namespace with a system of record ahead of their use, while its
        progress is read:

            async for progress in client.warm("users", all=True):
                print(progress.seen, "keys,", progress.loaded, "loaded")

        Say one of: `keys`, up to 10,000; `all`, what the namespace's `warm` names, or else all
        rows; `hot`, what was read most today and yesterday. At most `keys_per_second` keys are
        looked at, cached or not; None: as the namespace's `warm` says, or 1,000. The client's
        timeout does not bound it. To stop it leave the loop; with the `resume_token` of a progress
        another one goes on from there.
        """
        request = admin_pb2.WarmRequest(
            namespace=namespace,
            keys=listed(keys or ()),
            all=all,
            hot=hot,
            keys_per_second=keys_per_second or 0,
            resume_token=resume_token,
        )
        return Warming(self._admin_service.Warm, request)

    @cached_property
    def _admin_service(self) -> "admin_pb2_grpc.AdminServiceAsyncStub":
        return admin_pb2_grpc.AdminServiceStub(self._channel)
