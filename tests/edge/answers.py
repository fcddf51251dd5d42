"""What the gateway answers, as tests look at it."""

import json

from tests.servers.http import Answer

TAGS = {"cache-tag", "surrogate-key", "xkey"}


def refused(answer: Answer, status: int, reason: str) -> str:
    """The message of a refusal that nobody may keep."""
    assert answer.status == status, answer
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert not TAGS & answer.headers.keys()
    error = json.loads(answer.body)["error"]
    assert error["reason"] == reason
    return str(error["message"])
