"""Who pays for a job: its project, its route, its key and the tags its project has budgets of.

A ``Payer`` has a purse, perhaps limits of its own, and the jobs that wait for it. A ``Wallet`` is all that pay for jobs
of one kind, shared by all of these; jobs that nobody's budget or limit concerns have none.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from job_contracts.followups import follows, kind_of, origin_of
from job_contracts.money import picodollars
from scheduler.policy.buckets import NEVER
from scheduler.policy.jobs import BLOCKED
from scheduler.policy.purses import INDEX, Purse
from scheduler.policy.quotas import Quota
from scheduler.policy.rules import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.jobs import Bounds
    from job_contracts.money import Budget
    from scheduler.policy.jobs import Job
    from scheduler.policy.purses import Spending
    from scheduler.policy.rules import ProjectRule, Rules
    from scheduler.policy.turns import Deployment

KEYS = 1_000
"""Keys of one project that are kept although no job of theirs is unfinished."""
WALLETS = 50_000
KEY_BURST, KEY_SKEW = 0.02, 1.0

Entry = tuple[int, float, int, "Job", "Deployment"]
"""Priority, deadline, arrival; a job, and where it was to go."""
Amounts = tuple[tuple[int, int], ...]
"""Places in ``WINDOWS``, and picodollars allowed in each."""


class Payer:
    """One project, route, key or tag."""

    __slots__ = ("_stirred", "bytes", "jobs", "label", "later", "name", "purse", "quota", "timer", "told", "waiting")

    def __init__(self, name: str, label: str, stirred: dict[Payer, None]) -> None:
        self._stirred = stirred
        self.name = name
        self.label = label
        self.purse = Purse()
        self.quota: Quota | None = None
        self.told: Budget | None = None
        """Its budget, of a key as far as its newest job tells it."""
        self.waiting: list[Entry] = []
        """Jobs that wait for what others have reserved or will leave, in order."""
        self.later: dict[float, list[Entry]] = {}
        """Jobs that wait for a window to end, by its end in UTC seconds."""
        self.jobs = 0
        """Of a key: its unfinished jobs."""
        self.bytes = 0
        self.timer = -NEVER
        """When it is next looked at, at the latest, on the scale of ``now``."""

    def stir(self) -> None:
        """There may be room for who waits."""
        if self.waiting:
            self._stirred[self] = None

    def top(self) -> Entry | None:
        """The first that waits; those that have gone meanwhile are dropped."""
        while self.waiting and self.waiting[0][3].state != BLOCKED:
            heappop(self.waiting)
        return self.waiting[0] if self.waiting else None

    def turn_page(self, wall: float) -> None:
        """Who waited for a window that has ended waits for room now."""
        for end in [end for end in self.later if end <= wall]:
            fewer, more = sorted((self.later.pop(end), self.waiting), key=len)
            for entry in fewer:
                heappush(more, entry)
            self.waiting = more
        self.stir()

    def sweep(self) -> None:
        """Forget those that have gone."""
        self.waiting = [entry for entry in self.waiting if entry[3].state == BLOCKED]
        heapify(self.waiting)
        for end, entries in list(self.later.items()):
            kept = [entry for entry in entries if entry[3].state == BLOCKED]
            heapify(kept)
            self.later[end] = kept

    @property
    def held(self) -> int:
        """About how many jobs wait for it."""
        return len(self.waiting) + sum(map(len, self.later.values()))

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way or waits."""
        return not (
            self.jobs or self.waiting or self.later or self.purse.reserved or (self.quota and not self.quota.idle)
        )


class Wallet:
    """All that pay for jobs of one kind."""

    __slots__ = ("binds", "hard", "key", "owner", "payers", "quotas")

    def __init__(
        self,
        key: str | None,
        owner: Payer | None,
        payers: tuple[Payer, ...],
        hard: tuple[tuple[Payer, Amounts], ...],
        quotas: tuple[tuple[Payer, Quota], ...],
    ) -> None:
        self.key = key
        self.owner = owner
        """The key's own payer."""
        self.payers = payers
        self.hard = hard
        """Whose budgets must not be overshot, and by what."""
        self.quotas = quotas
        self.binds = bool(hard or quotas)

    def hold(self, hard: tuple[tuple[Payer, Amounts], ...]) -> None:
        """Other budgets, for these jobs as well."""
        self.hard = hard
        self.binds = bool(hard or self.quotas)

    def amounts(self, payer: Payer) -> Amounts:
        """What that payer is held to for these jobs."""
        return next((amounts for each, amounts in self.hard if each is payer), ())


class Payers:
    """All that have been seen, by name, and all wallets."""

    __slots__ = ("_facts", "_judged", "_keys", "_levels", "_rules", "_wallets", "named", "paying", "stirred")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.stirred: dict[Payer, None] = {}
        """Those with room that somebody may be waiting for."""
        self._judged: Mapping[str, Budget | None] = {}
        self.named: dict[str, Payer] = {}
        self._keys: dict[str, dict[str, Payer]] = {}
        self._wallets: dict[object, Wallet | None] = {}
        self._facts: dict[object, tuple[Payer, ...]] = {}
        self._levels: tuple[Mapping[str, Mapping[str, float]], float, float] | None = None
        everybody = any(route.budget is not None for route in rules.routes.values())
        self.paying = frozenset(
            name
            for name, rule in rules.projects.items()
            if everybody or rule.budget or rule.limits or rule.concurrency is not None or rule.tags
        )
        """Projects whose jobs somebody has to be asked for, whether or not they have a key."""
        for route in rules.routes.values():
            if route.budget is not None:
                self._named(f"route:{route.name}", f"route {route.name!r}").told = route.budget
        for rule in rules.projects.values():
            payer = self._named(f"project:{rule.name}", f"project {rule.name!r}")
            payer.told = rule.budget
            if rule.limits or rule.concurrency is not None:
                payer.quota = Quota(payer.name, rule.limits, rule.concurrency, rules.pace)
            for tag, budget in rule.tags.items():
                self._named(f"tag:{rule.name}/{tag}", f"tag {tag!r} of project {rule.name!r}").told = budget

    # ------------------------------------------------------------------------------------------------------- who pays

    def wallet(  # noqa: PLR0917 - what a job says of itself
        self, rule: ProjectRule, route: str, key: str | None, bounds: Bounds | None, tags: Mapping[str, str], now: float
    ) -> Wallet | None:
        """Who pays for such a job, ``None`` if nobody has to be asked."""
        chosen = _chosen(rule, tags)
        kind = (rule.name, route, key, bounds, chosen)
        if kind in self._wallets:
            return self._wallets[kind]
        if len(self._wallets) >= WALLETS:
            self._wallets.clear()
        made = self._wallets[kind] = self._make(rule, route, key, bounds, chosen, now)
        return made

    def _make(  # noqa: PLR0917 - the same
        self, rule: ProjectRule, route: str, key: str | None, bounds: Bounds | None, tags: tuple[str, ...], now: float
    ) -> Wallet | None:
        payers = self.of(rule.name, route, key, tags)
        known = self._rules.routes.get(route)
        budgets: list[Budget | None] = [rule.budget, None if known is None else known.budget]
        owner = None
        if key is not None:
            owner = payers[2]
            owner.told = None if bounds is None else bounds.budget
            budgets.append(owner.told)
            self._bound(owner, bounds, now)
        budgets.extend(rule.tags[tag] for tag in tags)
        quotas = tuple((payer, payer.quota) for payer in payers if payer.quota is not None)
        if owner is None and not quotas and not any(budgets):
            return None
        hard = tuple(
            (payer, tuple((INDEX[window], picodollars(amount)) for window, amount in budget.amounts()))
            for payer, budget in zip(payers, budgets, strict=True)
            if budget is not None and not budget.soft and budget.amounts()
        )
        return Wallet(key, owner, payers, hard, quotas)

    def payers_of(
        self, project: str, route: str, key: str | None, tags: Mapping[str, str], job: str = ""
    ) -> tuple[Payer, ...]:
        """Who pays for such an attempt, whether or not anything bounds them."""
        if follows(job):
            return (self._purse(job, tags)[0],)
        rule = self._rules.projects.get(project)
        return self.of(project, route, key, () if rule is None else _chosen(rule, tags))

    def of(self, project: str, route: str, key: str | None, tags: tuple[str, ...]) -> tuple[Payer, ...]:
        """Project, route, key if there is one, tags that have budgets."""
        kind = (project, route, key, tags)
        found = self._facts.get(kind)
        if found is None:
            if len(self._facts) >= WALLETS:
                self._facts.clear()
            payers = [
                self._named(f"project:{project}", f"project {project!r}"),
                self._named(f"route:{route}", f"route {route!r}"),
            ]
            if key is not None:
                payers.append(self._key(project, key))
            payers += [self._named(f"tag:{project}/{tag}", f"tag {tag!r} of project {project!r}") for tag in tags]
            found = self._facts[kind] = tuple(payers)
        return found

    def own_purse(self, job: str, tags: Mapping[str, str]) -> Wallet | None:
        """Who pays for a follow-up: nobody but the purse that the route it follows keeps for that."""
        payer, budget = self._purse(job, tags)
        if budget is None:
            return None
        found = self._wallets.get(payer)
        if found is None:
            found = self._wallets[payer] = Wallet(None, None, (payer,), _held(payer, budget), ())
        return found

    def hold_judges(self, budgets: Mapping[str, Budget | None]) -> None:
        """What scores of the answers of routes under experiment may cost from now on, whoever waits for it already."""
        self._judged = budgets
        for route, budget in budgets.items():
            payer = self.named.get(f"judge:{route}")
            wallet = self._wallets.get(payer)
            if payer is not None and wallet is not None and budget is not None and payer.told != budget:
                payer.told = budget
                wallet.hold(_held(payer, budget))
                payer.turn_page(NEVER)

    def _purse(self, job: str, tags: Mapping[str, str]) -> tuple[Payer, Budget | None]:
        kind, route = kind_of(job) or "", origin_of(tags)
        known = self._rules.routes.get(route)
        budget = None if known is None or known.followed is None else known.followed.budget(kind)
        if kind == "judge":
            budget = self._judged.get(route)
        name = route if known is not None else "-"
        payer = self._named(f"{kind}:{name}", f"the {kind} budget of route {name!r}")
        payer.told = budget
        return payer, budget

    def _named(self, name: str, label: str) -> Payer:
        found = self.named.get(name)
        if found is None:
            found = self.named[name] = Payer(name, label, self.stirred)
        return found

    def _key(self, project: str, key: str) -> Payer:
        name = f"key:{project}/{key}"
        found = self.named.get(name)
        if found is None:
            keys = self._keys.setdefault(project, {})
            if len(keys) >= KEYS:
                self._forget(keys)
            found = keys[name] = self._named(name, f"key {key!r}")
        return found

    def _forget(self, keys: dict[str, Payer]) -> None:
        """A producer may name any key: of those without jobs, first the ones that no budget was told of."""
        idle = [payer for payer in keys.values() if payer.idle]
        gone = next((payer for payer in idle if payer.told is None), idle[0] if idle else None)
        if gone is not None:
            del keys[gone.name], self.named[gone.name]
            self._wallets.clear()
            self._facts.clear()

    def _bound(self, owner: Payer, bounds: Bounds | None, now: float) -> None:
        """The key's limits are those that its newest job tells."""
        if bounds is None or (bounds.tpm is None and bounds.concurrency is None):
            return
        limits = () if bounds.tpm is None else (Limit("tokens", bounds.tpm, 60.0, KEY_BURST, KEY_SKEW),)
        if owner.quota is None:
            owner.quota = Quota(owner.name, limits, bounds.concurrency, self._rules.pace)
            if self._levels is not None:
                levels, silence, since = self._levels
                owner.quota.restore(levels.get(owner.name, {}), silence + now - since, now)
        else:
            owner.quota.hold_to(limits, bounds.concurrency, now)

    # ----------------------------------------------------------------------------------------------------- successors

    def levels(self, now: float) -> dict[str, dict[str, float]]:
        """What their limits have left; of those that are not mentioned nothing was used lately."""
        used = [payer for payer in self.named.values() if payer.quota is not None and not payer.quota.full(now)]
        return {payer.name: payer.quota.domain.levels(now) for payer in used[:KEYS] if payer.quota is not None}

    def restore_levels(self, levels: Mapping[str, Mapping[str, float]], silence: float, now: float) -> None:
        """Take over what an earlier owner left; what it did not mention starts empty, as a provider's limits do."""
        self._levels = (levels, silence, now)
        for payer in self.named.values():
            if payer.quota is not None:
                payer.quota.restore(levels.get(payer.name, {}), silence, now)

    def restore_spending(self, spending: Spending) -> None:
        """Start from these sums."""
        for name, sums in spending.payers.items():
            kind, _, who = name.partition(":")
            payer = self.named.get(name)
            if payer is None and kind == "key":
                project, _, key = who.partition("/")
                payer = self._key(project, key)
            elif payer is None:
                project, _, tag = who.partition("/")
                label = f"tag {tag!r} of project {project!r}" if kind == "tag" else f"{kind} {who!r}"
                payer = self._named(name, label)
            payer.purse.restore(sums)


def _held(payer: Payer, budget: Budget) -> tuple[tuple[Payer, Amounts], ...]:
    """The bounds of a hard budget."""
    if budget.soft:
        return ()
    return ((payer, tuple((INDEX[window], picodollars(amount)) for window, amount in budget.amounts())),)


def _chosen(rule: ProjectRule, tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tags its project has budgets of."""
    if not rule.tags or not tags:
        return ()
    return tuple(sorted(tag for tag in (f"{name}={value}" for name, value in tags.items()) if tag in rule.tags))
