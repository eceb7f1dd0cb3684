"""What the scheduler measures, read from its events and its board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.telemetry import count, level, measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.telemetry import Metrics
    from scheduler.service import Scheduler

PROJECTS = 200
"""Projects that have series of their own; the others share one."""
BATCH = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)

WAITS = tuple(0.01 * 4**n for n in range(10))
"""10 ms to three quarters of an hour."""

INSTRUMENTS = (
    count("dispatches", "dispatch.stored", "Attempts given to a pool", value="jobs"),
    measure("dispatch_seconds", "dispatch.stored", "Time to store one batch", value="seconds", buckets=BATCH),
    count("dispatches_not_stored", "dispatch.not_stored", "Attempts whose batch was refused", "verdict", value="jobs"),
    count("jobs_submitted", "job.queued", "Jobs taken in", "project", "lane", series=PROJECTS * 4),
    count("jobs_completed", "job.settled", "Jobs with a result", "state"),
    count("attempts_failed", "attempt.ended", "Attempts that ended without a result", "deployment", "kind"),
    count("failovers", "job.switched", "Jobs that went on elsewhere after a failure", "from", "to", "reason"),
    measure("failover_switch_seconds", "job.switched", "From a failure to the next attempt", value="seconds"),
    count("hedges", "hedge.stored", "Attempts made beside a late one", value="jobs"),
    count(
        "cost_usd",
        "cost.told",
        "US dollars of attempts that were lost, at most what was reserved; those of all others are counted by workers",
        *("provider", "model", "reason"),
        value="cost",
    ),
    count(
        "project_cost_usd",
        "cost.told",
        "The same by project",
        *("project", "reason"),
        value="cost",
        series=PROJECTS * 6,
    ),
    count("attempts_lost", "attempt.lost", "Attempts lost with a worker or a delivery", "kind"),
    count("repairs", "reconciler.repaired", "What lost messages had left and was repaired; 0 in health", "kind"),
    count("scheduler_errors", "reading.failed", "Messages that met a bug of the scheduler's", "reading"),
    level("work_filled", "work.filled", "Share of the room for assignments that is taken", value="value"),
    level("work_held", "work.holding", "1 while dispatch waits for room in WORK", value="value"),
    count("leases_lost", "lease.lost", "Terms ended by another leader"),
    count("terms", "term.began", "Terms begun"),
    count("unreadable_messages", "intake.unreadable", "Submissions set aside as unreadable"),
    count("dead_letters", "letter.kept", "Jobs and messages set aside", "reason"),
    count("dead_letters_failed", "letter.failed", "Jobs that ended without the letter they should have"),
    count("dead_letters_replayed", "letter.replayed", "Dead letters submitted again", "reason"),
    count("dead_letters_discarded", "letter.discarded", "Dead letters let go", "reason"),
    count("followups", "followup.submitted", "Jobs submitted to follow another one", "kind", "route"),
    count("followups_skipped", "followup.skipped", "Jobs that nothing followed although it was due", "reason"),
    level("job_queue_depth", "queue.counted", "Jobs waiting", "lane", "pool", value="value"),
    level("job_oldest_age_seconds", "queue.aged", "Age of the oldest waiting job", "lane", value="value"),
    level("jobs_unread", "queue.unread", "Jobs queued beyond the index", "project", value="value", series=PROJECTS),
    level("pool_inflight", "flights.counted", "Attempts holding a reservation", "deployment", value="value"),
    level("deployment_benched", "deployment.benched", "1 while it is left alone", "deployment", value="value"),
    level("limiter_available", "limit.read", "What a limit has left", "domain", "unit", value="value"),
    level("limiter_capacity", "limit.sized", "What it holds at most", "domain", "unit", value="value"),
    level(
        "limiter_limit",
        "limit.allowed",
        "What it allows a minute, as in force; of concurrency, at once",
        *("domain", "unit"),
        value="value",
    ),
    measure(
        "limiter_wait_seconds",
        "limit.waited",
        "How long a limit held a job before its first grant; of those that it held",
        "pool",
        value="seconds",
        buckets=WAITS,
        series=40,
    ),
    count(
        "limiter_throttled",
        "limit.bound",
        "Times that a limit began to hold jobs, by what it lacked",
        *("pool", "what"),
        series=100,
    ),
    level(
        "limiter_reserved",
        "limit.reserved",
        "Attempts under way, and the tokens reserved for them",
        *("domain", "unit"),
        value="value",
        series=300,
    ),
    level(
        *("pool_stopped", "pool.stopped", "1 while an operator has stopped a pool", "pool", "state"),
        value="value",
        series=100,
    ),
    level(
        *("pool_live_slots", "pool.counted", "Calls the live workers of a pool take at once", "pool"),
        value="value",
        series=200,
    ),
    level("pool_workers", "pool.staffed", "Live workers of a pool", "pool", value="value", series=200),
    level("budget_limit_usd", "budget.limited", "US dollars a window allows", "kind", "payer", "window", value="value"),
    level("budget_spent_usd", "budget.spent", "US dollars spent in it", "kind", "payer", "window", value="value"),
    level(
        "budget_reserved_usd",
        "budget.reserved",
        "US dollars in it that attempts under way may cost at most",
        *("kind", "payer", "window"),
        value="value",
    ),
    level("budget_blocked_jobs", "budget.held", "Jobs waiting for room of a payer", "kind", "payer", value="value"),
    count("spending_errors", "spending.unreadable", "Messages or facts of LEDGER that could not be read"),
    count("spending_distrusted", "spending.distrusted", "Times that LEDGER could not be read"),
    count("spending_kept", "spending.stored", "Checkpoints of what was spent"),
    count("experiment_jobs", "trial.ended", "Jobs that an experiment has counted", "experiment", "arm"),
    count("experiment_decisions", "trial.decided", "Steps raised and arms stopped", "experiment", "kind"),
    count("experiment_scores", "followup.scored", "Scores of judges that were stored", "experiment", "arm"),
    level("experiment_share", "trial.placed", "Share of all units that take part", "experiment", value="value"),
    count("orders", "order.stored", "Orders of operators that were stored", "aim", "do", series=50),
    count("configurations_reread", "configuration.reread", "Changes of the configuration that were taken over"),
    count("configurations_unusable", "configuration.unusable", "Changes of the configuration that cannot be used"),
    level("stream_messages", "stream.looked", "Messages in a stream", "stream", value="messages"),
    level("stream_bytes", "stream.looked", "Bytes in a stream", "stream", value="bytes"),
    level("stream_filled", "stream.looked", "Share of a stream's bounds that is taken", "stream", value="filled"),
    count("workers_silent", "worker.silent", "Workers that stopped beating", "pool"),
)


def gauges(metrics: Metrics, scheduler: Scheduler) -> None:
    """Figures that are read when the process is scraped."""

    def flights() -> float:
        return float(len(scheduler.leading.lifeline.flights)) if scheduler.leading else 0.0

    def known() -> float:
        return float(scheduler.board.known) if scheduler.board else 0.0

    metrics.gauge(
        "jobs_known", "Unfinished jobs it knows; a standby that has read along knows as many as the leader", known
    )
    metrics.gauge("leader", "1 while this process dispatches", lambda: float(scheduler.leads))

    def unread() -> float:
        return float(scheduler.leading.spending.unread) if scheduler.leading else 0.0

    metrics.gauge("jobs_in_flight", "Attempts given to workers and not ended", flights)

    def desired() -> Mapping[str, float]:
        return scheduler.figures.desired()

    metrics.family(
        "desired_workers",
        "Workers it should have; every scheduler tells the leader's number, and none that is old",
        "pool",
        desired,
    )

    def retiring() -> Mapping[str, float]:
        return scheduler.retiring()

    metrics.family(
        "model_retires_days",
        "Days until the provider retires the model, 0 and below once it has; every scheduler tells it",
        "deployment",
        retiring,
    )
    metrics.gauge("ledger_unread", "Messages of LEDGER that the leader had not read when it last looked", unread)
