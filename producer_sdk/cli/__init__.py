"""The command ``penstock``: jobs, streams, files of jobs, dead letters, models, keys, and what operators see and order.

Needs the extra ``cli``.

Data goes to standard output, everything for people to standard error; ``--json`` makes the data JSON. Exit codes:

== ======================================================
0  done
1  a job, a line of a file, or a letter of many, failed
2  the command line, the request or the file is wrong
3  there is no such job, letter or key
4  refused: the key, the model, a limit
5  the gateway cannot be reached
130 interrupted; ``run`` goes on where it was when it is called again
== ======================================================
"""

from __future__ import annotations

import sys

from producer_sdk.cli.exits import USAGE

MISSING = "the command needs typer and rich: pip install 'penstock[cli]'"


def main() -> None:
    """Entry point of the ``penstock`` script."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        sys.stderr.write(f"penstock: {MISSING}\n")
        sys.exit(USAGE)
    from producer_sdk.cli.app import app

    app()
