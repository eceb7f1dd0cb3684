"""What an edge may do in the broker's own account: be asked who may connect, see who is connected, end a connection."""

from __future__ import annotations

from typing import Any, Final

USER: Final = "gate"
"""The edges' name there."""
AUTH: Final = "$SYS.REQ.USER.AUTH"
"""On which the broker asks about each connection that its own file does not know."""
WHO: Final = "$SYS.REQ.SERVER.PING.CONNZ"
"""Asks every server who is connected."""
KICK: Final = "$SYS.REQ.SERVER.{}.KICK"
"""Asks one server to end a connection."""
REPLIES: Final = "$SYS._INBOX."
"""Where the broker waits for what its question is answered with."""
PERMISSIONS: Final[dict[str, Any]] = {
    "publish": {"allow": [WHO, KICK.format("*"), "_INBOX.>"]},
    "subscribe": {"allow": [AUTH, "_INBOX.>"]},
    "allow_responses": {"max": 1, "expires": "5s"},
}
