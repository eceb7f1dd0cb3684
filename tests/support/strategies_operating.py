"""Messages of operators, for property tests; ``tests.support.strategies`` has them among all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from hypothesis import strategies as st

from job_contracts import operating
from job_contracts.codec import Wire
from job_contracts.scaling import PoolScale
from tests.support.strategies_plain import (
    configurations,
    counts,
    lanes,
    maybe,
    names,
    small,
    some,
    spans,
    tags,
    whens,
    words,
)

_rates = st.floats(0.1, 1e9)
rates = st.builds(
    operating.Rates,
    rpm=maybe(_rates),
    input_tpm=maybe(_rates),
    output_tpm=maybe(_rates),
    tpm=maybe(_rates),
    concurrency=maybe(st.integers(1, 1000)),
)
_states = st.sampled_from(get_args(operating.State))
_factors = st.floats(0, 1000)
_standings = st.builds(
    operating.Standing, state=_states, limits=maybe(rates), factor=maybe(_factors), until=maybe(whens)
)
_audited = st.builds(
    operating.Audited,
    at=whens,
    by=words,
    did=words,
    on=words,
    name=words,
    why=words,
    before=maybe(_standings),
    after=maybe(_standings),
    detail=tags,
)
_lines = st.builds(operating.AuditLine, seq=counts, entry=_audited)
_in_force = st.builds(operating.InForce, standing=_standings, by=words, why=words, at=whens, seq=counts)
_workers = st.builds(
    operating.ToldWorker,
    name=words,
    slots=small,
    draining=st.booleans(),
    attempts=small,
    silent=spans,
    configured=maybe(configurations),
)
_deployments = st.builds(
    operating.ToldDeployment,
    name=words,
    limit=words,
    in_flight=small,
    benched=maybe(words),
    order=maybe(_in_force),
    weights=st.dictionaries(names, _factors, max_size=2),
    weighed=maybe(_in_force),
)
_scales = st.builds(
    PoolScale,
    pool=names,
    desired=small,
    needed=small,
    workers=small,
    slots=st.floats(0.1, 1e6),
    in_flight=small,
    waiting=small,
    held_back=small,
)
_pools = st.builds(
    operating.ToldPool,
    name=words,
    state=_states,
    slots=small,
    allowed=maybe(small),
    in_flight=small,
    queued=st.dictionaries(lanes, counts, max_size=3),
    oldest=maybe(spans),
    order=maybe(_in_force),
    workers=some(_workers, most=2),
    scale=maybe(_scales),
    deployments=some(_deployments, most=2),
)
_units = st.builds(
    operating.ToldUnit,
    unit=st.sampled_from(get_args(operating.Unit)),
    limit=_rates,
    configured=maybe(_rates),
    window=maybe(spans),
    size=_rates,
    available=st.floats(-1e9, 1e9),
    reserved=_rates,
    pace=st.floats(0, 1),
)
_limits = st.builds(
    operating.ToldLimit,
    name=words,
    pool=words,
    units=some(_units, most=2),
    closed=maybe(spans),
    closed_why=words,
    order=maybe(_in_force),
)
_lanes = st.builds(operating.ToldLane, name=lanes, share=_rates, queued=counts, oldest=maybe(spans))
OPERATING: Mapping[str, st.SearchStrategy[Wire]] = {
    "ask_order": st.builds(
        operating.AskOrder,
        do=st.sampled_from(get_args(operating.Doing)),
        aim=st.sampled_from(operating.AIMS),
        name=names,
        by=names,
        why=words,
        lasts=maybe(st.floats(1, 1e6)),
        limits=maybe(rates),
        factor=maybe(_factors),
    ),
    "ordered": st.builds(operating.Ordered, changed=st.booleans(), line=maybe(_lines)),
    "ask_note": st.builds(
        operating.AskNote,
        by=names,
        did=names,
        on=st.from_regex(r"[a-z][a-z_]{0,31}", fullmatch=True),
        name=words,
        why=words,
        detail=tags,
    ),
    "ask_audit": st.builds(
        operating.AskAudit,
        below=maybe(counts),
        limit=st.integers(1, operating.MAX_LISTED),
        by=maybe(words),
        did=maybe(words),
        on=maybe(words),
        name=maybe(words),
    ),
    "audited": _audited,
    "audit_page": st.builds(operating.AuditPage, lines=some(_lines, most=2), below=maybe(counts)),
    "told_standby": st.builds(operating.ToldStandby, owner=words, configured=maybe(configurations)),
    "overview": st.builds(
        operating.Overview,
        at=whens,
        leader=st.builds(operating.ToldLeader, owner=words, term=counts, since=whens, configured=maybe(configurations)),
        pools=some(_pools, most=2),
        limits=some(_limits, most=2),
        projects=some(_limits, most=2),
        lanes=some(_lanes, most=2),
        known=counts,
        in_flight=counts,
        unread=counts,
    ),
}
"""By the names of ``job_contracts.messages``."""
