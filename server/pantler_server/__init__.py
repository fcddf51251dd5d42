"""Pantler: a cache that services call over gRPC, over one Redis."""
