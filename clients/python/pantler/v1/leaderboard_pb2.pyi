import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pantler.v1 import sort_order_pb2 as _sort_order_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScorePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORE_POLICY_UNSPECIFIED: _ClassVar[ScorePolicy]
    SCORE_POLICY_SET: _ClassVar[ScorePolicy]
    SCORE_POLICY_BEST: _ClassVar[ScorePolicy]
    SCORE_POLICY_INCREMENT: _ClassVar[ScorePolicy]

class RankMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RANK_MODE_UNSPECIFIED: _ClassVar[RankMode]
    RANK_MODE_ORDINAL: _ClassVar[RankMode]
    RANK_MODE_COMPETITION: _ClassVar[RankMode]
SCORE_POLICY_UNSPECIFIED: ScorePolicy
SCORE_POLICY_SET: ScorePolicy
SCORE_POLICY_BEST: ScorePolicy
SCORE_POLICY_INCREMENT: ScorePolicy
RANK_MODE_UNSPECIFIED: RankMode
RANK_MODE_ORDINAL: RankMode
RANK_MODE_COMPETITION: RankMode

class ScoreEntry(_message.Message):
    __slots__ = ("member", "score", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    member: str
    score: float
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, member: _Optional[str] = ..., score: _Optional[float] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SubmitScoresRequest(_message.Message):
    __slots__ = ("namespace", "board", "entries", "policy", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    entries: _containers.RepeatedCompositeFieldContainer[ScoreEntry]
    policy: ScorePolicy
    request_id: str
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[ScoreEntry, _Mapping]]] = ..., policy: _Optional[_Union[ScorePolicy, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SubmittedScore(_message.Message):
    __slots__ = ("member", "score", "rank", "previous_rank", "changed")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_RANK_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    member: str
    score: float
    rank: int
    previous_rank: int
    changed: bool
    def __init__(self, member: _Optional[str] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., previous_rank: _Optional[int] = ..., changed: _Optional[bool] = ...) -> None: ...

class SubmitScoresResponse(_message.Message):
    __slots__ = ("entries", "period")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[SubmittedScore]
    period: BoardPeriod
    def __init__(self, entries: _Optional[_Iterable[_Union[SubmittedScore, _Mapping]]] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ...) -> None: ...

class BoardPeriod(_message.Message):
    __slots__ = ("start_time", "end_time")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BoardEntry(_message.Message):
    __slots__ = ("member", "score", "rank", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    member: str
    score: float
    rank: int
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, member: _Optional[str] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetRanksRequest(_message.Message):
    __slots__ = ("namespace", "board", "members", "rank_mode", "periods_ago", "at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RANK_MODE_FIELD_NUMBER: _ClassVar[int]
    PERIODS_AGO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    members: _containers.RepeatedScalarFieldContainer[str]
    rank_mode: RankMode
    periods_ago: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ..., rank_mode: _Optional[_Union[RankMode, str]] = ..., periods_ago: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MemberRank(_message.Message):
    __slots__ = ("member", "found", "score", "rank", "group_rank", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    GROUP_RANK_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    member: str
    found: bool
    score: float
    rank: int
    group_rank: int
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, member: _Optional[str] = ..., found: _Optional[bool] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., group_rank: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetRanksResponse(_message.Message):
    __slots__ = ("entries", "count", "period")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[MemberRank]
    count: int
    period: BoardPeriod
    def __init__(self, entries: _Optional[_Iterable[_Union[MemberRank, _Mapping]]] = ..., count: _Optional[int] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ...) -> None: ...

class ListByRankRequest(_message.Message):
    __slots__ = ("namespace", "board", "start_rank", "limit", "rank_mode", "periods_ago", "at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    START_RANK_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RANK_MODE_FIELD_NUMBER: _ClassVar[int]
    PERIODS_AGO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    start_rank: int
    limit: int
    rank_mode: RankMode
    periods_ago: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., start_rank: _Optional[int] = ..., limit: _Optional[int] = ..., rank_mode: _Optional[_Union[RankMode, str]] = ..., periods_ago: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListByRankResponse(_message.Message):
    __slots__ = ("entries", "count", "period")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[BoardEntry]
    count: int
    period: BoardPeriod
    def __init__(self, entries: _Optional[_Iterable[_Union[BoardEntry, _Mapping]]] = ..., count: _Optional[int] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ...) -> None: ...

class ListByScoreRequest(_message.Message):
    __slots__ = ("namespace", "board", "min", "max", "limit", "rank_mode", "periods_ago", "at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RANK_MODE_FIELD_NUMBER: _ClassVar[int]
    PERIODS_AGO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    min: float
    max: float
    limit: int
    rank_mode: RankMode
    periods_ago: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., limit: _Optional[int] = ..., rank_mode: _Optional[_Union[RankMode, str]] = ..., periods_ago: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListByScoreResponse(_message.Message):
    __slots__ = ("entries", "matched", "count", "period")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[BoardEntry]
    matched: int
    count: int
    period: BoardPeriod
    def __init__(self, entries: _Optional[_Iterable[_Union[BoardEntry, _Mapping]]] = ..., matched: _Optional[int] = ..., count: _Optional[int] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ...) -> None: ...

class ListAroundRequest(_message.Message):
    __slots__ = ("namespace", "board", "member", "limit", "rank_mode", "periods_ago", "at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    RANK_MODE_FIELD_NUMBER: _ClassVar[int]
    PERIODS_AGO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    member: str
    limit: int
    rank_mode: RankMode
    periods_ago: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., member: _Optional[str] = ..., limit: _Optional[int] = ..., rank_mode: _Optional[_Union[RankMode, str]] = ..., periods_ago: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListAroundResponse(_message.Message):
    __slots__ = ("found", "entries", "count", "period")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    found: bool
    entries: _containers.RepeatedCompositeFieldContainer[BoardEntry]
    count: int
    period: BoardPeriod
    def __init__(self, found: _Optional[bool] = ..., entries: _Optional[_Iterable[_Union[BoardEntry, _Mapping]]] = ..., count: _Optional[int] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ...) -> None: ...

class RemoveMembersRequest(_message.Message):
    __slots__ = ("namespace", "board", "members", "periods_ago", "at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    PERIODS_AGO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    members: _containers.RepeatedScalarFieldContainer[str]
    periods_ago: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ..., periods_ago: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RemoveMembersResponse(_message.Message):
    __slots__ = ("removed", "period")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    removed: _containers.RepeatedScalarFieldContainer[bool]
    period: BoardPeriod
    def __init__(self, removed: _Optional[_Iterable[bool]] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ...) -> None: ...

class GetBoardRequest(_message.Message):
    __slots__ = ("namespace", "board", "percentiles", "periods_ago", "at")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    PERCENTILES_FIELD_NUMBER: _ClassVar[int]
    PERIODS_AGO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    percentiles: _containers.RepeatedScalarFieldContainer[float]
    periods_ago: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ..., percentiles: _Optional[_Iterable[float]] = ..., periods_ago: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ScorePercentile(_message.Message):
    __slots__ = ("percentile", "score")
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    percentile: float
    score: float
    def __init__(self, percentile: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...

class GetBoardResponse(_message.Message):
    __slots__ = ("count", "best", "worst", "percentiles", "order", "period", "kept_periods")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    PERCENTILES_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    KEPT_PERIODS_FIELD_NUMBER: _ClassVar[int]
    count: int
    best: BoardEntry
    worst: BoardEntry
    percentiles: _containers.RepeatedCompositeFieldContainer[ScorePercentile]
    order: _sort_order_pb2.SortOrder
    period: BoardPeriod
    kept_periods: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    def __init__(self, count: _Optional[int] = ..., best: _Optional[_Union[BoardEntry, _Mapping]] = ..., worst: _Optional[_Union[BoardEntry, _Mapping]] = ..., percentiles: _Optional[_Iterable[_Union[ScorePercentile, _Mapping]]] = ..., order: _Optional[_Union[_sort_order_pb2.SortOrder, str]] = ..., period: _Optional[_Union[BoardPeriod, _Mapping]] = ..., kept_periods: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ...) -> None: ...

class DeleteBoardRequest(_message.Message):
    __slots__ = ("namespace", "board")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    board: str
    def __init__(self, namespace: _Optional[str] = ..., board: _Optional[str] = ...) -> None: ...

class DeleteBoardResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: _Optional[bool] = ...) -> None: ...
