"""Keys that the configuration names, known again by a keyed hash."""

from __future__ import annotations

import hashlib
import hmac

from gateway.bodies.failures import ApiError, Failed
from gateway.caller import Caller
from runtime.settings import Edge


def hashed(key: str, pepper: str) -> str:
    """HMAC-SHA256 of a whole key, in hexadecimal. A key has 256 random bits: a slow hash would protect nothing."""
    return hmac.new(pepper.encode(), key.encode(), hashlib.sha256).hexdigest()


class Keys:
    """A ``Keyring`` of what stands in the configuration."""

    def __init__(self, settings: Edge) -> None:
        self._pepper = settings.pepper.get_secret_value()
        self._callers = {one.hash: Caller(one.project, name, one.scope) for name, one in settings.keys.items()}
        if settings.admin_hash:
            self._callers[settings.admin_hash] = Caller("", "admin", admin=True)

    def caller(self, presented: str, now: float) -> Caller:
        """See ``Keyring``."""
        found = self._callers.get(hashed(presented, self._pepper))
        if found is None or (found.scope.expires is not None and found.scope.expires <= now):
            remedy = "send Authorization: Bearer psk_… with a key of this gateway"
            raise Failed(ApiError(401, "invalid_api_key", "this key is not known here", remedy=remedy))
        return found

    def admit(self, caller: Caller, now: float) -> None:
        """See ``Keyring``."""
