"""What can keep the appliance from running, each with a sentence that says how to go on.

The exceptions form one tree::

    ApplianceError
    ├── WrongUse        the command line or the configuration asks for something that cannot be
    ├── Busy            another appliance uses the data directory
    ├── PortTaken       somebody else listens where we should
    └── StartFailed     a process did not become ready
"""

from __future__ import annotations


class ApplianceError(Exception):
    """A reason not to run, in words for a person; ``exit_code`` is what the process ends with."""

    exit_code = 1


class WrongUse(ApplianceError):
    """The command line or the configuration asks for something that cannot be."""

    exit_code = 2


class Busy(ApplianceError):
    """Another appliance uses the data directory."""


class PortTaken(ApplianceError):
    """Somebody else listens on a port that was asked for."""


class StartFailed(ApplianceError):
    """A process did not become ready; the message carries the tail of its log."""
