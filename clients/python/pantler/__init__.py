"""The Python client of Pantler, a cache that services call over gRPC.

    async with pantler.AsyncClient("127.0.0.1:50051") as client:
        await client.set("users", "42", b"Ada", ttl=timedelta(minutes=5))
        entry = await client.get("users", "42")

Nothing is imported before it is used, so that `pantler.v1` (the generated code) can be had alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pantler import codecs as codecs
    from pantler.blocking_cached import BlockingCachedFunction
    from pantler.cached import CachedFunction
    from pantler.cdn_model import CachePolicy, EdgeValue, PurgeReceipt, PurgeStatus
    from pantler.channel_subscription import ChannelSubscription
    from pantler.client import AsyncClient
    from pantler.codecs import Codec
    from pantler.counter_model import CounterResult
    from pantler.errors import (
        CascadeTooWide,
        DeadlineExceeded,
        DecodeError,
        EncodeError,
        FailedPrecondition,
        FieldViolation,
        ForkedClient,
        InternalError,
        InvalidArgument,
        LeaseLost,
        NotFound,
        NotReplicated,
        OutcomeUnknown,
        PantlerError,
        PartialFailure,
        PurgeBacklogFull,
        RateLimited,
        RecordChanged,
        RecordExists,
        RecordMissing,
        ResourceExhausted,
        SlotNotHeld,
        Unavailable,
        UncacheableArgument,
        WriteBacklogFull,
        WriteRefused,
        WrongKind,
    )
    from pantler.geo_model import NearbyLocation, Point
    from pantler.leaderboard_model import (
        Board,
        BoardEntry,
        BoardPage,
        BoardPeriod,
        MemberRank,
        MemberRanks,
        ScoreEntry,
        ScorePage,
        SubmittedScore,
        SubmittedScores,
    )
    from pantler.model import (
        AddTagsResult,
        ChannelGap,
        ChannelMessage,
        Dependent,
        Description,
        Entry,
        HotKey,
        InvalidatedKeys,
        InvalidationEvent,
        PatternProgress,
        PublishedEvent,
        RuleOutcome,
        SetResult,
        TaggedKey,
        WarmProgress,
        WatchMessage,
    )
    from pantler.namespace import Namespace
    from pantler.near_cache import NearCache, NearCacheStats
    from pantler.rate_limit_model import (
        AllDecision,
        Decision,
        RateLimitCheck,
        RateLimitRule,
        RefundResult,
    )
    from pantler.record_model import (
        DeadWrite,
        DeleteResult,
        FlushResult,
        PutResult,
        Record,
        WriteBacklog,
    )
    from pantler.sync_client import Client
    from pantler.telemetry import Hook
    from pantler.warming import Warming
    from pantler.watch import InvalidationWatch

__all__ = [
    "AddTagsResult",
    "AllDecision",
    "AsyncClient",
    "BlockingCachedFunction",
    "Board",
    "BoardEntry",
    "BoardPage",
    "BoardPeriod",
    "CachePolicy",
    "CachedFunction",
    "CascadeTooWide",
    "ChannelGap",
    "ChannelMessage",
    "ChannelSubscription",
    "Client",
    "Codec",
    "CounterResult",
    "DeadWrite",
    "DeadlineExceeded",
    "Decision",
    "DecodeError",
    "DeleteResult",
    "Dependent",
    "Description",
    "EdgeValue",
    "EncodeError",
    "Entry",
    "FailedPrecondition",
    "FieldViolation",
    "FlushResult",
    "ForkedClient",
    "Hook",
    "HotKey",
    "InternalError",
    "InvalidArgument",
    "InvalidatedKeys",
    "InvalidationEvent",
    "InvalidationWatch",
    "LeaseLost",
    "MemberRank",
    "MemberRanks",
    "Namespace",
    "NearCache",
    "NearCacheStats",
    "NearbyLocation",
    "NotFound",
    "NotReplicated",
    "OutcomeUnknown",
    "PantlerError",
    "PartialFailure",
    "PatternProgress",
    "Point",
    "PublishedEvent",
    "PurgeBacklogFull",
    "PurgeReceipt",
    "PurgeStatus",
    "PutResult",
    "RateLimitCheck",
    "RateLimitRule",
    "RateLimited",
    "Record",
    "RecordChanged",
    "RecordExists",
    "RecordMissing",
    "RefundResult",
    "ResourceExhausted",
    "RuleOutcome",
    "ScoreEntry",
    "ScorePage",
    "SetResult",
    "SlotNotHeld",
    "SubmittedScore",
    "SubmittedScores",
    "TaggedKey",
    "Unavailable",
    "UncacheableArgument",
    "WarmProgress",
    "Warming",
    "WatchMessage",
    "WriteBacklog",
    "WriteBacklogFull",
    "WriteRefused",
    "WrongKind",
]

_MODULES = {
    "AddTagsResult": "model",
    "AllDecision": "rate_limit_model",
    "AsyncClient": "client",
    "BlockingCachedFunction": "blocking_cached",
    "Board": "leaderboard_model",
    "BoardEntry": "leaderboard_model",
    "BoardPage": "leaderboard_model",
    "BoardPeriod": "leaderboard_model",
    "CachePolicy": "cdn_model",
    "CachedFunction": "cached",
    "ChannelGap": "model",
    "ChannelMessage": "model",
    "ChannelSubscription": "channel_subscription",
    "Client": "sync_client",
    "Codec": "codecs",
    "CounterResult": "counter_model",
    "DeadWrite": "record_model",
    "Decision": "rate_limit_model",
    "DeleteResult": "record_model",
    "Dependent": "model",
    "Description": "model",
    "EdgeValue": "cdn_model",
    "Entry": "model",
    "FlushResult": "record_model",
    "Hook": "telemetry",
    "HotKey": "model",
    "InvalidatedKeys": "model",
    "InvalidationEvent": "model",
    "InvalidationWatch": "watch",
    "MemberRank": "leaderboard_model",
    "MemberRanks": "leaderboard_model",
    "Namespace": "namespace",
    "NearCache": "near_cache",
    "NearCacheStats": "near_cache",
    "NearbyLocation": "geo_model",
    "PatternProgress": "model",
    "Point": "geo_model",
    "PublishedEvent": "model",
    "PurgeReceipt": "cdn_model",
    "PurgeStatus": "cdn_model",
    "PutResult": "record_model",
    "RateLimitCheck": "rate_limit_model",
    "RateLimitRule": "rate_limit_model",
    "Record": "record_model",
    "RefundResult": "rate_limit_model",
    "RuleOutcome": "model",
    "ScoreEntry": "leaderboard_model",
    "ScorePage": "leaderboard_model",
    "SetResult": "model",
    "SubmittedScore": "leaderboard_model",
    "SubmittedScores": "leaderboard_model",
    "TaggedKey": "model",
    "WarmProgress": "model",
    "Warming": "warming",
    "WatchMessage": "model",
    "WriteBacklog": "record_model",
}


def __getattr__(name: str) -> object:
    if name == "codecs":  # a part of the API that is a module
        return import_module("pantler.codecs")
    if name not in __all__:
        raise AttributeError(f"module 'pantler' has no attribute {name!r}")
    value: object = getattr(import_module(f"pantler.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
