"""A batch as large as the API allows, through everything: lines a second, and what the edge needs for it.

    python -m benchmarks.batch [--lines 50000] [--bytes 400] [--in-flight 1000]

An appliance with one simulated provider that answers at once; one batch of so many lines, each of about so many bytes.
Memory is the largest the edge ever had (resident); CPU is that of the edge, a line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from producer_sdk.cli.transfers import Gateway, rest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
ENDED = {"completed", "failed", "expired", "cancelled"}


@contextmanager
def appliance(folder: Path, in_flight: int) -> Iterator[dict[str, Any]]:
    """A running appliance's card."""
    config = folder / "penstock.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "providers": {"openai": {"key": "simulated", "slots": 512}},
                "routes": {"fast": {"deployments": ["openai/gpt-4o-mini+ttft=0+tokens=20"]}},
                "projects": {"bench": {}},
                "gateway": {"batches": {"in_flight": in_flight}},
            }
        ),
        encoding="utf-8",
    )
    words = ["up", "--simulate", "--json", "--port", "0", "--no-console", "--nats-port", "0", "--config", str(config)]
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", *words, "--data-dir", str(folder / "data")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield json.loads(process.stdout.readline() if process.stdout is not None else "")
        finally:
            process.terminate()
            process.wait(60)


def written(path: Path, lines: int, size: int) -> None:
    """An input file."""
    text = "lorem ipsum dolor " * (size // 18 + 1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            body = {"model": "fast", "messages": [{"role": "user", "content": f"{number} {text[:size]}"}]}
            line = {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(line) + "\n")


def highest(pid: int) -> float:
    """Megabytes of memory a process had at most (Linux)."""
    rows = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def main(lines: int, each: int, in_flight: int) -> None:
    """Run it and print the figures."""
    with tempfile.TemporaryDirectory() as name, appliance(Path(name), in_flight) as card:
        source = Path(name) / "requests.jsonl"
        written(source, lines, each)
        edge, process = Gateway(card["gateway_url"], card["project_key"]), psutil.Process(card["pids"]["gateway"])
        size, idle = source.stat().st_size / 1e6, process.memory_info().rss / 1e6
        print(f"{lines} lines, {size:.1f} MB, edge idle at {idle:.0f} MB")
        begun = time.monotonic()
        file = edge.upload(source, "batch", lambda _: None)
        uploaded = time.monotonic()
        spent = sum(process.cpu_times()[:2])
        wish = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = edge.ask("POST", "/v1/batches", wish)
        seen = {"validating": time.monotonic()}
        while batch["status"] not in ENDED:
            rest(0.2)
            batch = edge.ask("GET", f"/v1/batches/{batch['id']}", patient=True)
            seen.setdefault(batch["status"], time.monotonic())
        ended = time.monotonic()
        cpu = sum(process.cpu_times()[:2]) - spent
        answers = sum(data.count(b"\n") for data in edge.content(batch["output_file_id"], 0))
        read = time.monotonic()
        peak = int(
            next(row for row in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in row).split()[
                1
            ]
        )
        running = seen.get("finalizing", ended) - seen.get("in_progress", begun)
        print(f"upload {uploaded - begun:.1f} s, validation {seen.get('in_progress', ended) - uploaded:.1f} s")
        print(f"answering {running:.1f} s: {lines / running:.0f} lines/s, edge CPU {1000 * cpu / lines:.2f} ms a line")
        finalizing = ended - seen.get("finalizing", ended)
        print(f"finalizing {finalizing:.1f} s, download {read - ended:.1f} s, {answers} answers")
        print(f"{batch['status']} {batch['request_counts']}, edge at most {peak:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--bytes", type=int, default=400)
    parser.add_argument("--in-flight", type=int, default=1_000)
    told = parser.parse_args()
    main(told.lines, told.bytes, told.in_flight)
