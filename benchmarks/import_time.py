"""What importing the SDK costs a program: milliseconds over a bare interpreter, best of several fresh processes.

python -m benchmarks.import_time [--runs 9] [--top 15]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATEMENTS = {
    "import producer_sdk": 200,
    "from producer_sdk import Producer": 0,
    "from producer_sdk import SyncProducer": 0,
    "from producer_sdk.testing import FakeGateway": 0,
    "import producer_sdk.cli.app": 0,
    "import nats.aio.client": 0,
    "import pydantic; pydantic.BaseModel": 0,
}
"""Each with the milliseconds it may take, 0 where nothing was promised."""


def best(statement: str, runs: int) -> float:
    """Milliseconds of the fastest of ``runs`` interpreters that do nothing else: less is never measured by chance."""
    fastest = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest * 1_000


def heaviest(statement: str, count: int) -> list[tuple[float, str]]:
    """The modules that take most themselves, in milliseconds (the measuring makes them slower than they are)."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows = [line.removeprefix("import time:").split("|") for line in run.stderr.splitlines()[1:]]
    return sorted(((int(own) / 1_000, name.strip()) for own, _, name in rows), reverse=True)[:count]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--top", type=int, default=0, help="also list the heaviest modules")
    arguments = parser.parse_args()
    bare = best("pass", arguments.runs)
    print(f"{'statement':<48} {'ms':>6} {'bound':>6}   (over a bare interpreter: {bare:.0f} ms)")
    for statement, bound in STATEMENTS.items():
        taken = best(statement, arguments.runs) - bare
        print(f"{statement:<48} {taken:>6.0f} {bound or '':>6}")
    for taken, name in heaviest("from producer_sdk import Producer", arguments.top):
        print(f"  {taken:6.1f} ms  {name}")


if __name__ == "__main__":
    main()
