"""How many entries a namespace has, and how large they are, from a sample of the key space.

Redis does not count by prefix, and a count of our own would not see expiry and eviction. RANDOMKEY
on each primary draws keys nearly uniformly (Redis picks a hash bucket first, so keys in long chains
come up a little less often).
"""

from pantler_server.engines.cache.model import Size
from pantler_server.store.link import LinkLost, ReplyFailed
from pantler_server.store.request import pack
from pantler_server.store.store import Store

SAMPLES = 200  # a standard error of 3.5 % of the key space for a namespace that is half of it


async def estimate_size(store: Store, namespace: str, deadline: float) -> Size | None:
    """None when no sampled key was of the namespace, in a key space that is not empty.

    Two round trips to each primary. Raises StoreUnavailable.
    """
    draw = [pack("DBSIZE"), *[pack("RANDOMKEY")] * SAMPLES]
    beginning = f"{{{namespace}:".encode()
    entries, memory_bytes, keys_seen = 0.0, 0.0, 0
    for link, (total, *drawn) in await store.ask_primaries(draw, deadline):
        keys_seen += total
        ours = [key for key in drawn if key and key.startswith(beginning) and b"}e:" in key]
        if not ours:
            continue
        measure = [pack("MEMORY", "USAGE", key) for key in ours]
        try:
            sizes = [size for size in await link.submit(measure, deadline) if size]
        except (LinkLost, ReplyFailed):
            return None
        count = total * len(ours) / SAMPLES
        entries += count
        memory_bytes += count * sum(sizes) / max(1, len(sizes))
    if not entries and keys_seen:
        return None
    return Size(round(entries), round(memory_bytes))
