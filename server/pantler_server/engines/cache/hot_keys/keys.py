"""Where the counts of reads live in Redis (role `state`): all of a namespace in its first
partition, so that one script has them.

The keys begin before the hash tag: first levels are told of all that begins with it. They are a
fixed few that are used in turn, so that scripts can be given all of them and choose by the clock of
Redis; each has expired before its turn comes again.
"""

from pantler_server.core.namespace import Namespace

MINUTES = 8
"""The last 5 are read, and each expires 6 minutes after its last change."""
DAYS = 4
"""Two are read, and each expires 2 days after its last change."""


def minutes(space: Namespace) -> list[bytes]:
    """`h{namespace:0}mN`, sorted sets: how often keys were read in a minute, N the minute since
    1970 modulo 8. They expire after 6 minutes."""
    tag = space.partitions[0].tag
    return [b"h%bm%d" % (tag, number) for number in range(MINUTES)]


def days(space: Namespace) -> list[bytes]:
    """`h{namespace:0}dN`, sorted sets: the same of a day (UTC), N the day since 1970 modulo 4. They
    expire after 48 hours."""
    tag = space.partitions[0].tag
    return [b"h%bd%d" % (tag, number) for number in range(DAYS)]
