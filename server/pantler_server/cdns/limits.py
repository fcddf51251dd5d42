"""What a target takes: what its vendor documents, where the configuration says nothing."""

from math import ceil

from pantler_server.cdns.target import Limits
from pantler_server.core.cdn_config import CdnTarget


def limits(
    config: CdnTarget,
    *,
    tags_per_request: int,
    urls_per_request: int,
    tag_bytes_per_request: int,
    requests_per_second: float,
    burst: int,
) -> Limits:
    """With `max_requests_per_second`, that many at once too, and at least one."""
    rate = config.max_requests_per_second
    if rate is not None:
        requests_per_second, burst = rate, ceil(rate)
    return Limits(
        tags_per_request,
        urls_per_request,
        tag_bytes_per_request,
        requests_per_second,
        burst,
    )
