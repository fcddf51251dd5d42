"""What the CDN engine takes and gives."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from pantler_server.core.cdn_config import HttpPolicy


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How a response may be kept, by whom. Whole seconds; None: nothing is said."""

    private: bool = False
    """Whether only a browser may."""
    max_age_s: int | None = None
    s_maxage_s: int | None = None
    cdn_max_age_s: int | None = None
    immutable: bool = False
    must_revalidate: bool = False
    stale_while_revalidate_s: int | None = None
    stale_if_error_s: int | None = None
    no_store: bool = False
    vary: tuple[str, ...] = ()

    @classmethod
    def of(cls, http: HttpPolicy) -> Self:
        """That of a namespace."""
        return cls(
            private=http.visibility == "private",
            max_age_s=_seconds(http.max_age),
            s_maxage_s=_seconds(http.s_maxage),
            cdn_max_age_s=_seconds(http.cdn_max_age),
            immutable=http.immutable,
            must_revalidate=http.must_revalidate,
            stale_while_revalidate_s=_seconds(http.stale_while_revalidate),
            stale_if_error_s=_seconds(http.stale_if_error),
            no_store=http.no_store,
            vary=http.vary,
        )


def _seconds(duration: timedelta | None) -> int | None:
    """A part of one is left out."""
    return None if duration is None else duration // timedelta(seconds=1)
