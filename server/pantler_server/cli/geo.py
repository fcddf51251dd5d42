"""`pantler geo`: places, and what is near."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pantler_server.cli.cache import Namespace
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
from pantler_server.cli.confirm import Yes, confirm
from pantler_server.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from pantler.v1 import geo_pb2

Set = Annotated[str, typer.Argument(help="The set of places.", metavar="SET")]
Members = Annotated[list[str], typer.Argument(help="The members.", metavar="MEMBER...")]

geo_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep places, and find what is near.\n\n"
    "A set holds where its members are. Places are given as LONGITUDE,LATITUDE, in degrees.",
)


@geo_app.command()
def add(
    namespace: Namespace,
    set_name: Set,
    locations: Annotated[
        list[str],
        typer.Argument(
            help="The members, and where they are.", metavar="MEMBER=LONGITUDE,LATITUDE..."
        ),
    ],
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say where members are; those that were elsewhere are here from now on.

    For example, `pantler geo add shops berlin bakery=13.405,52.52 mill=13.38,52.53`.
    """
    from pantler.v1 import geo_pb2, geo_pb2_grpc

    with channel(address) as opened:
        request = geo_pb2.AddLocationsRequest(namespace=namespace, set=set_name)
        for one in locations:
            member, _, place = one.rpartition("=")
            longitude, latitude = _numbers(place, ",", one, "MEMBER=LONGITUDE,LATITUDE")
            request.locations.add(member=member, longitude=longitude, latitude=latitude)
        answer = geo_pb2_grpc.GeoServiceStub(opened).AddLocations(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"added": answer.added})
    else:
        print(f"stored, {answer.added} of them new")


@geo_app.command()
def get(
    namespace: Namespace,
    set_name: Set,
    members: Members,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say where members are. If none of them is in the set, the exit code is 1."""
    from pantler.v1 import geo_pb2, geo_pb2_grpc

    with channel(address) as opened:
        request = geo_pb2.GetLocationsRequest(namespace=namespace, set=set_name, members=members)
        answer = geo_pb2_grpc.GeoServiceStub(opened).GetLocations(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json(
            [
                {"member": one.member, **_place(one.point, found=one.HasField("point"))}
                for one in answer.locations
            ]
        )
    else:
        for one in answer.locations:
            where = _said(one.point) if one.HasField("point") else "not there"
            print(f"{one.member!r}: {where}")
    if not any(one.HasField("point") for one in answer.locations):
        raise typer.Exit(ExitCode.MISS)


@geo_app.command()
def remove(
    namespace: Namespace,
    set_name: Set,
    members: Members,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Take members out of a set. If none of them was in it, the exit code is 1."""
    from pantler.v1 import geo_pb2, geo_pb2_grpc

    with channel(address) as opened:
        request = geo_pb2.RemoveLocationsRequest(namespace=namespace, set=set_name, members=members)
        answer = geo_pb2_grpc.GeoServiceStub(opened).RemoveLocations(
            request, timeout=seconds(timeout, "--timeout")
        )
    outcomes = list(zip(members, answer.removed, strict=True))
    if json:
        print_json([{"member": member, "removed": removed} for member, removed in outcomes])
    else:
        for member, removed in outcomes:
            print(f"{member!r}: {'removed' if removed else 'not there'}")
    if not any(answer.removed):
        raise typer.Exit(ExitCode.MISS)


@geo_app.command()
def near(
    namespace: Namespace,
    set_name: Set,
    point: Annotated[
        str | None, typer.Option(help="Around here.", metavar="LONGITUDE,LATITUDE")
    ] = None,
    member: Annotated[str | None, typer.Option(help="Around this member of the set.")] = None,
    radius_meters: Annotated[float | None, typer.Option(help="In this circle.")] = None,
    box_meters: Annotated[
        str | None, typer.Option(help="In this box.", metavar="WIDTHxHEIGHT")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 100,
    farthest_first: Annotated[
        bool, typer.Option("--farthest-first", help="List the farthest first.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """List who is near a point or a member, the nearest first.

    For example, `pantler geo near shops berlin --point 13.4,52.5 --radius-meters 2000`. To a pipe
    goes a line for each, with tabs between: member, meters, longitude, latitude. If the set has no
    such member, the exit code is 1.
    """
    from pantler.v1 import geo_pb2, geo_pb2_grpc, sort_order_pb2

    where = _where(point, member, radius_meters, box_meters)
    order = sort_order_pb2.SORT_ORDER_DESCENDING if farthest_first else None
    with channel(address) as opened:
        request = geo_pb2.SearchNearbyRequest(
            namespace=namespace, set=set_name, order=order, limit=limit, **where
        )
        answer = geo_pb2_grpc.GeoServiceStub(opened).SearchNearby(
            request, timeout=seconds(timeout, "--timeout")
        )
    if not answer.origin_found:
        _miss(set_name, f"no member {member!r}", json)
    if json:
        print_json(
            [
                {
                    "member": one.member,
                    "distance_meters": one.distance_meters,
                    **_place(one.point),
                }
                for one in answer.locations
            ]
        )
    elif not answer.locations:
        print("pantler: nobody is there", file=sys.stderr)
    elif sys.stdout.isatty():
        _print_table(answer)
    else:
        for one in answer.locations:
            longitude, latitude = _said(one.point).split(",")
            print(one.member, f"{one.distance_meters:.1f}", longitude, latitude, sep="\t")


@geo_app.command()
def distance(
    namespace: Namespace,
    set_name: Set,
    from_member: Annotated[str, typer.Argument(help="One member.")],
    to_member: Annotated[str, typer.Argument(help="The other.")],
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Say how far two members are from each other. If one is not in the set, the exit code is
    1."""
    from pantler.v1 import geo_pb2, geo_pb2_grpc

    with channel(address) as opened:
        request = geo_pb2.MeasureDistanceRequest(
            namespace=namespace, set=set_name, from_member=from_member, to_member=to_member
        )
        answer = geo_pb2_grpc.GeoServiceStub(opened).MeasureDistance(
            request, timeout=seconds(timeout, "--timeout")
        )
    if not answer.found:
        _miss(set_name, f"not both of {from_member!r} and {to_member!r}", json)
    if json:
        print_json({"found": True, "distance_meters": answer.distance_meters})
    else:
        print(f"{answer.distance_meters:.1f} m")


@geo_app.command()
def delete(
    namespace: Namespace,
    set_name: Set,
    yes: Yes = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT,
    json: Json = False,
) -> None:
    """Delete a set with all its places. If there was none, the exit code is 1."""
    from pantler.v1 import geo_pb2, geo_pb2_grpc

    confirm(f"deletes the set {set_name!r} of {namespace!r} with all its places", yes)
    with channel(address) as opened:
        request = geo_pb2.DeleteSetRequest(namespace=namespace, set=set_name)
        answer = geo_pb2_grpc.GeoServiceStub(opened).DeleteSet(
            request, timeout=seconds(timeout, "--timeout")
        )
    if json:
        print_json({"deleted": answer.deleted})
    elif answer.deleted:
        print("deleted")
    else:
        print(f"pantler: no set {set_name!r} in {namespace!r}", file=sys.stderr)
    if not answer.deleted:
        raise typer.Exit(ExitCode.MISS)


def _where(
    point: str | None, member: str | None, radius_meters: float | None, box_meters: str | None
) -> dict[str, Any]:
    """The fields of a search that say around what, and how far."""
    from pantler.v1 import geo_pb2

    if (point is None) == (member is None):
        raise typer.BadParameter("give one of --point and --member")
    if (radius_meters is None) == (box_meters is None):
        raise typer.BadParameter("give one of --radius-meters and --box-meters")
    where: dict[str, Any] = {"member": member, "radius_meters": radius_meters}
    if point is not None:
        longitude, latitude = _numbers(point, ",", point, "LONGITUDE,LATITUDE")
        where["point"] = geo_pb2.Point(longitude=longitude, latitude=latitude)
    if box_meters is not None:
        width, height = _numbers(box_meters, "x", box_meters, "WIDTHxHEIGHT")
        where["box"] = geo_pb2.Box(width_meters=width, height_meters=height)
    return where


def _numbers(text: str, between: str, given: str, form: str) -> tuple[float, float]:
    """Two numbers; what is none is wrong usage of what was given."""
    one, _, other = text.partition(between)
    try:
        return float(one), float(other)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is not {form}") from None


def _miss(set_name: str, what: str, json: bool) -> NoReturn:
    if json:
        print_json({"found": False})
    else:
        print(f"pantler: {what} in {set_name!r}", file=sys.stderr)
    raise typer.Exit(ExitCode.MISS)


def _place(point: "geo_pb2.Point", *, found: bool = True) -> dict[str, float | None]:
    return {
        "longitude": point.longitude if found else None,
        "latitude": point.latitude if found else None,
    }


def _said(point: "geo_pb2.Point") -> str:
    """Five digits are about 1 m, and places are kept to within 0.6 m."""
    return f"{point.longitude:.5f},{point.latitude:.5f}"


def _print_table(answer: "geo_pb2.SearchNearbyResponse") -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    meters = Column("meters", justify="right", no_wrap=True)
    place = Column("longitude,latitude", no_wrap=True)
    table = Table(Column("member", overflow="fold"), meters, place, box=None)
    for one in answer.locations:
        # Text: a name is no markup
        table.add_row(Text(repr(one.member)), f"{one.distance_meters:.1f}", _said(one.point))
    Console().print(table)
