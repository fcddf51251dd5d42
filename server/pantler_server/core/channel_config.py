"""Channels in the configuration of a namespace."""

from datetime import timedelta

from pydantic import BaseModel, ByteSize, ConfigDict, Field

from pantler_server.core.setting_types import Bytes, Duration


class ChannelHistoryConfig(BaseModel):
    """What is kept of the messages of all channels of a namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_messages: int = Field(10_000, ge=1, le=10_000_000)
    """About how many messages are kept, the newest. With the longest payloads that is how much
    memory they may take."""
    ttl: Duration = Field(timedelta(hours=1), ge=timedelta(seconds=1), le=timedelta(days=3650))
    """How long they are kept after the newest of them."""


class ChannelsConfig(BaseModel):
    """How channels work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_payload_bytes: Bytes = Field(ByteSize(64 << 10), ge=1, le=16 << 20)
    """The largest payload of a message."""
    history: ChannelHistoryConfig | None = None
    """What is kept of messages, so that they have sequences and a subscriber can go on where it
    broke off; unset: nothing."""
