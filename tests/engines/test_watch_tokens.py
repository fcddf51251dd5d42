"""The tokens that watches go on after: whose they are, and what they cost."""

import random
from base64 import urlsafe_b64encode
from time import monotonic
from zlib import crc32

import pytest
from pantler_server.core.errors import InvalidFields
from pantler_server.engines.cache.watch import token

from tests.engines.caller import Caller
from tests.engines.test_watch import _POSITION
from tests.engines.watching import DEPLOYMENT, opened, watching


async def test_each_message_has_a_token_that_goes_on_after_it(whole: Caller) -> None:
    async with watching(whole) as seen:
        for number in range(3):
            await whole.delete(f"k{number}")
            await seen.settled(whole)
    told = [message for message in seen.messages if message.changes]
    first = seen.messages[0].token
    for number, resume in enumerate([first, *(message.token for message in told)]):
        async with watching(whole, resume=resume) as again:
            await again.settled(whole)
            assert [change.name for change in again.changes] == [
                f"k{left}" for left in range(number, 3)
            ]
            assert not again.gaps


async def test_tokens_of_others_are_refused(one: Caller, graced: Caller) -> None:
    async with watching(one) as seen:
        pass
    foreign = token.write(b"8 others", [token.pack(one.space.name, [_POSITION])])
    for callers, resume, said in (
        ((graced,), seen.token, "other namespaces"),
        ((one, graced), seen.token, "other namespaces"),
        ((one,), foreign, "another deployment"),
    ):
        with pytest.raises(InvalidFields, match=said) as failed:
            await anext(opened(*callers, resume=resume))
        assert [violation.path for violation in failed.value.violations] == ["resume_token"]


async def test_what_is_no_token_is_none() -> None:
    good = token.write(DEPLOYMENT, [token.pack("n", [_POSITION] * 3)])
    read = token.read(good)
    assert read is not None
    assert read.parts["n"].numbers == (1 << 50,) * 3
    assert token.read("") is None
    for wrong in (good[:-1], good[1:], "é", "A" * 40, good[:10] + "A" + good[11:]):
        assert token.read(wrong) is None, wrong


def sealed(numbers: bytes) -> str:
    """A token with the right check, and with this after the name and the smallest number."""
    body = b"\x01" + DEPLOYMENT + b"\x01n" + bytes(8) + bytes(8) + numbers
    check = crc32(body).to_bytes(4, "little")
    return urlsafe_b64encode(body + check).rstrip(b"=").decode()


def test_a_token_that_someone_made_up_costs_next_to_nothing() -> None:
    longest = b"\xff" * 9 + b"\x00"
    assert token.read(sealed(b"\x01" + longest)) is not None
    began = monotonic()
    for wrong in (
        b"\x01" + b"\xff" * 10 + b"\x00",
        b"\x01" + b"\xff" * 500_000 + b"\x00",
        b"\xff" * 3_000_000,
        b"\x81\x08" + bytes(1025),
        b"\x05" + bytes(4),
        b"\x01",
        b"",
    ):
        assert token.read(sealed(wrong)) is None, wrong[:20]
    assert monotonic() - began < 1


def test_tokens_of_all_sizes_are_read() -> None:
    for partitions in (1, 64, 1024):
        positions = [_POSITION._replace(number=(1 << 50) + 100 * at) for at in range(partitions)]
        name = "n" * 64
        read = token.read(token.write(DEPLOYMENT, [token.pack(name, positions)]))
        assert read is not None
        assert read.parts[name].numbers == tuple(position.number for position in positions)
    far = [_POSITION._replace(number=0), *[_POSITION._replace(number=(1 << 63) - 1)] * 1023]
    names = [f"{number:064}" for number in range(token.MAX_NAMESPACES)]
    most = token.write(DEPLOYMENT, [token.pack(name, far) for name in names])
    read = token.read(most)
    assert read is not None
    assert list(read.parts) == names
    assert token.read(most + "A" * 1_000_000) is None


def test_no_bytes_make_reading_a_token_fail() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        token.read(sealed(rng.randbytes(rng.randrange(40))))
        good = bytearray(token.write(DEPLOYMENT, [token.pack("n", [_POSITION] * 3)]).encode())
        good[rng.randrange(len(good))] = rng.randrange(128)
        token.read(good.decode())
