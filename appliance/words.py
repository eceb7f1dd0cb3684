"""What the appliance says to a person: what runs and how to use it, and what happens to its processes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from appliance.assembly import SCHEDULER
from appliance.running import Running
from appliance.supervisor import Died, Happening, Overdue, Ready, indented

_GIB = 1024**3

MANY = 3
"""Deaths in a row from which on the end of the log is shown."""

CURL = """\
curl -s {url}/v1/chat/completions -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
  -d '{{"model": "{route}", "messages": [{{"role": "user", "content": "What is a penstock?"}}]}}'"""
SPEND = """\
PENSTOCK_GATEWAY={url} PENSTOCK_KEY={key} penstock spend --by model"""
SNIPPET = """\
{python} - <<'END'
from producer_sdk import SyncProducer
with SyncProducer("{url}", key="{key}") as producer:
    result = producer.complete(model="{route}", messages=[{{"role": "user", "content": "What is a penstock?"}}])
    print(result.text, "|", result.model, "|", result.usage.total, "tokens")
END"""


def welcome(running: Running) -> str:
    """What runs, the keys, and two things to try that work as they stand."""
    assembly = running.assembly
    key = assembly.project_key.get_secret_value()
    rows = [("HTTP API", f"{assembly.gateway_url}/v1"), ("broker", assembly.nats_url), *assembly.services.items()]
    if assembly.console_url is not None:
        rows.insert(0, ("see it", assembly.console_url))
    if assembly.simulator_url is not None:
        rows.append(("simulator", f"{assembly.simulator_url}/_control"))
    rows += [("data, logs", str(running.places.root)), ("project key", key)]
    admin = assembly.keys.admin
    if admin is not None:
        rows.append(("admin key", f"{admin.get_secret_value()}   (shown this once: only its hash is kept)"))
    table = "\n".join(f"  {name:<17} {value}" for name, value in rows)
    python = shlex.quote(_shortest(Path(sys.executable)))
    snippet = SNIPPET.format(python=python, url=assembly.nats_url, key=key, route=assembly.route)
    curl = CURL.format(url=assembly.gateway_url, key=key, route=assembly.route)
    spend = SPEND.format(url=assembly.gateway_url, key=key)
    return (
        f"Penstock is up; Ctrl-C ends it.\n\n{table}\n\n"
        f"Is it ready, and what does it measure?\n\ncurl -s {assembly.services[SCHEDULER]}/readyz\n"
        f"curl -s {assembly.services[SCHEDULER]}/metrics\n\n"
        f"What was spent, by model?\n\n{spend}\n\n"
        f"Ask over HTTP, as any OpenAI client does:\n\n{curl}\n\n"
        f"Send a job over the queue and wait for its result:\n\n{snippet}\n"
    )


def cramped(needed: int, free: int, taken: int) -> str | None:
    """A warning if the streams may come to take more bytes than the disk has, None otherwise.

    ``taken`` is what they have of it already.
    """
    if free + taken >= needed:
        return None
    return (
        f"the disk has {free / _GIB:.1f} GiB free, and the queues and results may grow to {needed / _GIB:.1f} GiB; when"
        " it is full, no more jobs are taken: give the data directory a larger disk, or lower nats.max_queue_bytes"
    )


def told(happening: Happening) -> str | None:
    """A line about a process, None if it is not worth one."""
    match happening:
        case Ready(name, pid, restarts) if restarts:
            return f"{name} is ready again (process {pid}, restart {restarts})"
        case Ready():
            return None
        case Overdue(name, grace):
            return f"{name} did not end within {grace:g} s and was killed"
        case Died(name, pid, why, failures, restarts, pause, tail, log):
            line = f"{name} {why} (process {pid}); started again in {pause:.3g} s (restart {restarts})"
            if failures < MANY:
                return line
            shown = f"; the end of {log}:\n{indented(tail)}" if failures == MANY else f"; see {log}"
            return f"{line}: {failures} times in a row{shown}"


def _shortest(path: Path) -> str:
    """A path relative to where we are, if that is below us."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
