from pantler.v1 import sort_order_pb2 as _sort_order_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Location(_message.Message):
    __slots__ = ("member", "longitude", "latitude")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    member: str
    longitude: float
    latitude: float
    def __init__(self, member: _Optional[str] = ..., longitude: _Optional[float] = ..., latitude: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("longitude", "latitude")
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    longitude: float
    latitude: float
    def __init__(self, longitude: _Optional[float] = ..., latitude: _Optional[float] = ...) -> None: ...

class AddLocationsRequest(_message.Message):
    __slots__ = ("namespace", "set", "locations")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ..., locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ...) -> None: ...

class AddLocationsResponse(_message.Message):
    __slots__ = ("added",)
    ADDED_FIELD_NUMBER: _ClassVar[int]
    added: int
    def __init__(self, added: _Optional[int] = ...) -> None: ...

class GetLocationsRequest(_message.Message):
    __slots__ = ("namespace", "set", "members")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    members: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ...) -> None: ...

class MemberLocation(_message.Message):
    __slots__ = ("member", "point")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    member: str
    point: Point
    def __init__(self, member: _Optional[str] = ..., point: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...

class GetLocationsResponse(_message.Message):
    __slots__ = ("locations",)
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    locations: _containers.RepeatedCompositeFieldContainer[MemberLocation]
    def __init__(self, locations: _Optional[_Iterable[_Union[MemberLocation, _Mapping]]] = ...) -> None: ...

class RemoveLocationsRequest(_message.Message):
    __slots__ = ("namespace", "set", "members")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    members: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveLocationsResponse(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, removed: _Optional[_Iterable[bool]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("width_meters", "height_meters")
    WIDTH_METERS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_METERS_FIELD_NUMBER: _ClassVar[int]
    width_meters: float
    height_meters: float
    def __init__(self, width_meters: _Optional[float] = ..., height_meters: _Optional[float] = ...) -> None: ...

class SearchNearbyRequest(_message.Message):
    __slots__ = ("namespace", "set", "point", "member", "radius_meters", "box", "order", "limit")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    RADIUS_METERS_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    point: Point
    member: str
    radius_meters: float
    box: Box
    order: _sort_order_pb2.SortOrder
    limit: int
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ..., point: _Optional[_Union[Point, _Mapping]] = ..., member: _Optional[str] = ..., radius_meters: _Optional[float] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., order: _Optional[_Union[_sort_order_pb2.SortOrder, str]] = ..., limit: _Optional[int] = ...) -> None: ...

class NearbyLocation(_message.Message):
    __slots__ = ("member", "point", "distance_meters")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_METERS_FIELD_NUMBER: _ClassVar[int]
    member: str
    point: Point
    distance_meters: float
    def __init__(self, member: _Optional[str] = ..., point: _Optional[_Union[Point, _Mapping]] = ..., distance_meters: _Optional[float] = ...) -> None: ...

class SearchNearbyResponse(_message.Message):
    __slots__ = ("locations", "origin_found")
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FOUND_FIELD_NUMBER: _ClassVar[int]
    locations: _containers.RepeatedCompositeFieldContainer[NearbyLocation]
    origin_found: bool
    def __init__(self, locations: _Optional[_Iterable[_Union[NearbyLocation, _Mapping]]] = ..., origin_found: _Optional[bool] = ...) -> None: ...

class MeasureDistanceRequest(_message.Message):
    __slots__ = ("namespace", "set", "from_member", "to_member")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    FROM_MEMBER_FIELD_NUMBER: _ClassVar[int]
    TO_MEMBER_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    from_member: str
    to_member: str
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ..., from_member: _Optional[str] = ..., to_member: _Optional[str] = ...) -> None: ...

class MeasureDistanceResponse(_message.Message):
    __slots__ = ("found", "distance_meters")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_METERS_FIELD_NUMBER: _ClassVar[int]
    found: bool
    distance_meters: float
    def __init__(self, found: _Optional[bool] = ..., distance_meters: _Optional[float] = ...) -> None: ...

class DeleteSetRequest(_message.Message):
    __slots__ = ("namespace", "set")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    set: str
    def __init__(self, namespace: _Optional[str] = ..., set: _Optional[str] = ...) -> None: ...

class DeleteSetResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: bool
    def __init__(self, deleted: _Optional[bool] = ...) -> None: ...
