"""What the ledger measures, read from its events and its duty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.telemetry import count, level, measure

if TYPE_CHECKING:
    from ledger.service import Ledger
    from runtime.telemetry import Metrics

BATCH = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)

INSTRUMENTS = (
    count("ledger_attempts", "ledger.stored", "Attempts stored", value="new"),
    count("ledger_corrected", "ledger.stored", "Attempts of which a heavier fact came later", value="replaced"),
    count("ledger_known", "ledger.stored", "Facts that changed nothing", value="known"),
    measure("ledger_batch_seconds", "ledger.stored", "Time to store one batch", value="seconds", buckets=BATCH),
    count("ledger_unreadable", "ledger.unreadable", "Messages and facts of LEDGER that could not be counted"),
    count(
        "ledger_facts_missed",
        "ledger.facts_missed",
        "Messages that LEDGER had let go before they were stored",
        value="messages",
    ),
    count("alerts", "alert.told", "Things that somebody should know, told once each", "kind"),
    level("alert_active", "alerts.active", "How many of them are so now", "kind", value="value"),
    count("alerts_posted", "webhook.posted", "Alerts that the webhook took"),
    count("alerts_post_failures", "webhook.retried", "Posts that failed and are tried again"),
    count("alerts_given_up", "webhook.given_up", "Alerts that the webhook never took"),
    count("ledger_attempts_removed", "retention.removed", "Attempts removed after their time", value="attempts"),
    count("ledger_failures", "ledger.failed", "Times that the database or the broker did not answer", "error"),
)


def gauges(metrics: Metrics, ledger: Ledger) -> None:
    """Figures that are read when the process is scraped."""
    metrics.gauge("ledger_behind", "Messages of LEDGER that are not stored", lambda: float(ledger.behind))
    metrics.gauge("ledger_position", "LEDGER sequence up to which all is stored", lambda: float(ledger.position))
    metrics.gauge("ledger_ready", "1 while it stores what it is told", lambda: float(ledger.ready is None))
