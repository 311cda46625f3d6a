"""The program that the package must agree with, to the last digit."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Keys that the clock decides.
CLOCK = ("time_s", "time_per_frame_s", "_per_s")
OF_THE_MACHINE = {"realtime_factor", "memory_bytes", "latency_ms"}


class Cli(Protocol):
    def __call__(self, *arguments: str) -> Any: ...


@pytest.fixture(scope="session")
def issc_cli() -> Cli:
    """Runs `issc ARGUMENTS` of the same commit and reads what it prints, where it is built."""
    program = Path(os.environ.get("ISSC", ROOT / "target/release/issc"))
    if not program.exists():
        pytest.skip(f"{program} is not built: cargo build --release")

    def run(*arguments: str) -> Any:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    return run


def without_clock(value: Any) -> Any:
    """A report without what depends on the clock."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not key.endswith(CLOCK) and key not in OF_THE_MACHINE}
        return {key: without_clock(item) for key, item in kept.items()}
    return [without_clock(item) for item in value] if isinstance(value, list) else value
