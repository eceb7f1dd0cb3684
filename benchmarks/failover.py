"""How soon the next provider is asked once it is known that the first has failed, by fault; seen from the providers.

    python -m benchmarks.failover [--count 200] [--at-once 4] [--sync always] [--litellm PYTHON]

The whole gateway runs as it would on a laptop (broker, scheduler, edge, workers, each a process), asked over HTTP for
streams. Of each job the provider notes when its first deployment had failed and when the request arrived at the second
(``benchmarks.failover_provider``), so the way back to the scheduler, its decision, its write to the broker and the
worker's own work are all in it. Every job fails at a deployment and a limit of its own: what happened to the others
does not send it elsewhere at once. LiteLLM's router meets the same faults where an interpreter is given that has it; it
is a library in the caller's process, without a queue, so it has less to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.request import urlopen

import httpx
import yaml

from benchmarks.edge_systems import _started

FAULTS = ("500", "reset", "429", "hang", "stall")
PATIENCE = 0.5
"""Seconds to the first token, and between two."""
AIM = 50.0
"""Milliseconds, for 99 of 100."""
DOMAINS = 64
"""Jobs with a limit domain of their own: those whose first deployment is closed by their failure."""
ROOT = Path(__file__).parent.parent


def names(count: int) -> dict[str, list[str]]:
    """What is asked for, by fault."""
    return {fault: [f"{fault}-{number}" for number in range(count if fault != "429" else DOMAINS)] for fault in FAULTS}


@contextmanager
def provider() -> Iterator[str]:
    """The provider, with an empty log."""
    command = [sys.executable, "-m", "benchmarks.failover_provider", str(PATIENCE), str(PATIENCE)]
    with _started(command) as (_, card):
        yield str(card["base_url"])


def gaps(base: str) -> dict[str, list[float]]:
    """Milliseconds by fault."""
    with urlopen(f"{base}/log", timeout=10) as answer:  # noqa: S310 - an address of this program's own
        told: Mapping[str, float] = json.loads(answer.read())
    return {fault: [gap for name, gap in told.items() if name.startswith(f"{fault}-")] for fault in FAULTS}


def configuration(base: str, asked: Mapping[str, list[str]]) -> dict[str, Any]:
    """Two providers, and a route and deployment for each job."""
    own = {name: {"models": [name], "limits": {}} for name in asked["429"]}
    patient = {"ttft": PATIENCE, "stall": PATIENCE, "total": 20}
    return {
        "providers": {
            place: {"dialect": "openai_chat", "base_url": f"{base}/{place}/v1", "key": "bench"}
            | ({"domains": own} if place == "first" else {})
            for place in ("first", "second")
        },
        "routes": {
            name: {"deployments": [f"first/{name}", "second/m"], "timeouts": patient}
            for each in asked.values()
            for name in each
        },
        "projects": {"bench": {"retry_share": 1.0}},
    }


async def ours(base: str, asked: Mapping[str, list[str]], at_once: int, sync: str) -> dict[str, int]:
    """Ask the whole gateway for everything; how many were answered whole, by fault."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        path = Path(folder) / "penstock.yaml"
        path.write_text(yaml.safe_dump(configuration(base, asked)))
        command = [
            sys.executable,
            "-m",
            "appliance",
            "up",
            "--json",
            "--no-console",
            "--config",
            str(path),
            "--sync",
            sync,
        ]
        command += ["--port", "0", "--nats-port", "0", "--data-dir", f"{folder}/data"]
        with _started(command) as (_, card):
            headers = {"authorization": f"Bearer {card['project_key']}"}
            async with httpx.AsyncClient(base_url=card["gateway_url"], headers=headers, timeout=30) as client:
                places = asyncio.Semaphore(at_once)

                async def one(name: str) -> bool:
                    async with places:
                        body = {"model": name, "stream": True, "messages": [{"role": "user", "content": name}]}
                        answered = await client.post("/v1/chat/completions", json=body)
                        return answered.status_code == 200 and "[DONE]" in answered.text

                return {fault: sum(await asyncio.gather(*map(one, each))) for fault, each in asked.items()}


def litellm(python: str, base: str, asked: Mapping[str, list[str]], at_once: int) -> dict[str, int]:
    """The same of LiteLLM's router."""
    found = {}
    for fault, each in asked.items():
        command = [python, str(ROOT / "benchmarks/failover_router.py"), base, str(PATIENCE), str(at_once), *each]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found[fault] = int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.split() else 0
    return found


def show(
    system: str, asked: Mapping[str, list[str]], answered: Mapping[str, int], found: dict[str, list[float]]
) -> None:
    """A line for each fault."""
    for fault, each in found.items():
        told = f"{system:9} {fault:6} answered {answered[fault]:4} of {len(asked[fault]):4}"
        if len(each) > 1:
            cuts = quantiles(each, n=100, method="inclusive")
            told += (
                f"  switched {len(each):4}  p50 {cuts[49]:7.1f} ms  p99 {cuts[98]:7.1f} ms  most {max(each):7.1f} ms"
            )
            told += "" if cuts[98] <= AIM else f"  beyond the aim of {AIM:g} ms"
        print(told, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="jobs for each fault")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--sync", default="always", help="the broker's, as the appliance takes it")
    parser.add_argument("--litellm", metavar="PYTHON", help="an interpreter that has LiteLLM")
    given = parser.parse_args()
    asked = names(given.count)
    print(f"load of the machine before: {os.getloadavg()[0]:.2f}", flush=True)
    with provider() as base:
        show("penstock", asked, asyncio.run(ours(base, asked, given.at_once, given.sync)), gaps(base))
    if given.litellm:
        with provider() as base:
            show("litellm", asked, litellm(given.litellm, base, asked, given.at_once), gaps(base))


if __name__ == "__main__":
    main()
