"""Rules that come with a call."""

from datetime import timedelta

import pantler

INLINE = pantler.RateLimitRule("sliding_window_log", limit=2, window=timedelta(hours=1))
SLOTS = pantler.RateLimitRule("concurrency", limit=1, window=timedelta(minutes=1))
