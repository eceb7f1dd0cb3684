"""A broker whose door edges keep: no project has a login in its file; the edges' keys let in."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from gateway.nkeys import Issuer, account_seed
from runtime.broker import BrokerConfig
from runtime.broker_accounts import BrokerCallout, BrokerUser
from tests.support.stand_in import OTHER, PROJECT, SECRET, SERVICE

SEED = account_seed(bytes(range(32)))
GATE_SECRET = "gate-password"
CALLOUT: dict[str, Any] = {"seed": SEED, "password": GATE_SECRET}
"""The section ``gateway.callout`` of an edge."""


def guarded(**over: Any) -> BrokerConfig:
    """The services' user, and two projects whose keys the edges know."""
    callout = BrokerCallout(issuer=Issuer(SEED).public, password=SecretStr(GATE_SECRET), projects=(PROJECT, OTHER))
    users = (BrokerUser(name=SERVICE, password=SecretStr(SECRET)),)
    return BrokerConfig(**{"sync": "default", "users": users, "callout": callout, **over})
