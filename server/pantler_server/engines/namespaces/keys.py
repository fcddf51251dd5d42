"""Where the list of namespaces lives in Redis (role `state`)."""

REGISTRY = "{pantler}:namespaces"
"""A hash: the name of each namespace that was ever used, and its number of partitions. No
expiry."""
DEPLOYMENT = "{pantler}:deployment"
"""A string: 8 random bytes that tell this deployment from others. No expiry."""
