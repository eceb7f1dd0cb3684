"""What a console measures, and from which events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.telemetry import Instrument, Metrics, count

if TYPE_CHECKING:
    from console.live import Feeds
    from console.playing import Playing
    from console.sessions import Sessions

__all__ = ["INSTRUMENTS", "gauges"]

INSTRUMENTS: tuple[Instrument, ...] = (
    count("console_logins", "console.entered", "Logins by role", "role"),
    count("console_refused", "console.refused", "Logins with a key that nobody holds"),
    count("console_actions", "console.acted", "What was done in it, and how it ended", "panel", "action", "ended"),
    count("console_plays", "console.played", "Prompts of the playground, and how they ended", "models", "ended"),
    count("console_not_noted", "console.not_noted", "Logins and logouts that the audit did not take", "did"),
    count("console_failures", "console.failed", "Pages that could not be made because of a bug", "panel", "error"),
)


def gauges(metrics: Metrics, sessions: Sessions, feeds: Feeds, playing: Playing) -> None:
    """What is read when it is scraped."""
    metrics.gauge("console_sessions", "Who is logged in", lambda: len(sessions))
    metrics.gauge("console_looking", "Pages that are kept current", lambda: feeds.looking)
    metrics.gauge("console_playing", "Prompts of the playground that are being answered", lambda: playing.under_way)
