"""What a near cache keeps and when it is sure, without a server."""

import pkgutil
import sys
from datetime import timedelta
from importlib import import_module

import pantler.v1
import pytest
from google.protobuf.descriptor_pb2 import MethodOptions
from pantler import AsyncClient, NearCache, near_cached, near_store, near_watch
from pantler.v1 import invalidation_pb2

# What changes something, and not what Get gives.
UNCHANGING = {
    "AdminService": {
        "ReloadConfig",  # of settings
        "Warm",  # what is cached already stays as it is
    },
    "CacheService": {
        "Get", "BatchGet", "ReleaseLease", "ExtendLease",  # but leases
        "Exchange",  # its operations are methods too
    },
    "CdnService": {"Purge", "PutEdgeValue", "DeleteEdgeValue"},  # of what others keep
    "CounterService": {"Increment", "ResetCounters", "AddUnique", "MergeUnique", "DeleteUnique"},
    "GeoService": {"AddLocations", "RemoveLocations", "DeleteSet"},
    "InvalidationService": {
        "DeclareDependencies",  # for cascades that come after it
        "InvalidatePattern",  # changes it; `invalidate_pattern` forgets with each answer
    },
    "LeaderboardService": {"SubmitScores", "RemoveMembers", "DeleteBoard"},
    "PubSubService": {"Publish"},
    "RateLimitService": {"Acquire", "AcquireAll", "Reset", "Refund", "RenewSlot", "ReleaseSlot"},
    "RecordService": {
        "StopRefresh",  # what is cached stays until it expires
        "FlushWrites",  # to the origin: they were in force before
    },
}  # fmt: skip


def test_of_each_method_it_is_known_whether_it_writes() -> None:
    protos = [
        import_module(f"pantler.v1.{module.name}").DESCRIPTOR
        for module in pkgutil.iter_modules(pantler.v1.__path__)
        if module.name.endswith("_pb2")
    ]
    methods = {
        (service.name, method.name)
        for proto in protos
        for service in proto.services_by_name.values()
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
    }
    operations = {name.title().replace("_", "") for name in near_cached._WRITES}
    writing = near_cached._OF_KEYS | near_cached._OF_MORE | operations
    unchanging = {(service, name) for service, names in UNCHANGING.items() for name in names}
    assert {name for _, name in methods - unchanging} == writing
    assert unchanging < methods


def test_heartbeats_that_were_long_on_their_way_prove_no_more_than_they_can() -> None:
    config = NearCache(["a"])
    store = near_store.NearStore(config)
    follower = near_watch.Follower(store, config)
    watch = near_watch.NearWatch(lambda: None, config)
    message = invalidation_pb2.WatchInvalidationsResponse(with_writes=["a"])
    watch._request()
    begun = watch.sent_from
    for number in range(4):
        for item in watch._items(message):
            follower._take(watch, item)
        assert watch.sent_from == pytest.approx(begun + number)
    assert store.good_until == pytest.approx(begun + 3 - 2 + 5)
    watch._request()  # it goes on: the first message proves nothing, until all is told
    was = store.good_until
    for item in watch._items(message):
        follower._take(watch, item)
    assert store.good_until == was


def test_changes_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_store, "MAX_CHANGES", 10)
    store = near_store.NearStore(NearCache(["a"], settle=timedelta(minutes=1)))
    space = store.spaces["a"]
    space.is_told = True
    for number in range(25):
        store.forget_tag("a", f"t{number}")
        store.forget("a", [f"k{number}"])
    assert len(space.tags) <= 10
    assert len(space.recent) <= 10
    assert space.cleared_at  # in place of the tags that are not remembered
    assert store.open("a", "k0") is None  # nor is anything kept for a while


def test_what_can_not_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for namespaces, options in (
        ([], {}),
        ([f"n{number}" for number in range(101)], {}),
        ({"a": timedelta(0)}, {}),
        (["a"], {"ttl": timedelta(0)}),
        (["a"], {"max_bytes": 0}),
        (["a"], {"max_staleness": timedelta(seconds=3)}),
        (["a"], {"max_staleness": timedelta(hours=1)}),
        (["a"], {"settle": timedelta(seconds=-1)}),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            NearCache(namespaces, **options)
    with pytest.raises(TypeError, match="several"):
        NearCache("a")
    for name in ("pantler.near_cached", "pantler.near_store", "pantler.near_watch"):
        import_module(name)  # no other test may have
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(name)
    monkeypatch.setitem(sys.modules, "moka_py", None)
    with pytest.raises(ImportError, match=r"pantler\[near-cache\]"):
        AsyncClient(near_cache=NearCache(["a"]))
