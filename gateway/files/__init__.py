"""Files: stored in chunks while they arrive, there once their head is, read from any byte on.

Its rooms: ``store`` heads and chunks in the broker's stream · ``uploads`` a form's content on its way there ·
``sweeper`` what was begun and never ended, or has no head any more.
"""
