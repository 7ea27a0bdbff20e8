"""The command ``atai-emulator``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from airflow_provider_atai.emulator.settings import API_PREFIX, DEFAULT_API_KEY, HOW_TO_INSTALL, LONGEST


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the process is told to end, and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        # The command is installed even without the extra that it needs.
        from airflow_provider_atai.emulator.server import EmulatorServer, listen, url_of
        from airflow_provider_atai.emulator.state import Emulator
        from airflow_provider_atai.emulator.store import DataDirInUseError
    except ModuleNotFoundError as error:
        print(f"atai-emulator: {error}. It needs an extra: {HOW_TO_INSTALL}", file=sys.stderr)
        return 1
    try:
        listening = listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        print(f"atai-emulator: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    # The server shuts down on both signals and raises them again, which must not skip the cleanup.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        if options.data_dir is None:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atai-emulator-")))
        else:
            data_dir = options.data_dir
            data_dir.mkdir(parents=True, exist_ok=True)
        try:
            emulator = Emulator(data_dir, api_keys=options.api_key, time_scale=options.time_scale)
        except DataDirInUseError as error:
            print(f"atai-emulator: {error}", file=sys.stderr)
            return 1
        announcement = f"ATAI emulator listening on {url_of(listening)}{API_PREFIX}"
        EmulatorServer(emulator, listening, lambda: print(announcement, flush=True)).serve_until_stopped()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atai-emulator", description="A local stand-in for Archetype AI's fine-tuning service."
    )
    address = "address to listen on; the controls need no key (default: %(default)s)"
    folder = "where the state is kept (default: a temporary folder, removed at the end)"
    key = f"a key that is valid; repeatable (default: the last ones in --data-dir, or {DEFAULT_API_KEY})"
    scale = "seconds of a job's life in a real second (default: the last one in --data-dir, or 1)"
    parser.add_argument("--host", default="127.0.0.1", help=address)
    parser.add_argument("--port", type=int, default=8765, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help=folder)
    parser.add_argument("--api-key", action="append", default=[], help=key)
    parser.add_argument("--time-scale", type=_positive, help=scale)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    # Not a number compares as false.
    if not 1 / LONGEST <= value <= LONGEST:
        raise argparse.ArgumentTypeError(f"must be more than 0, and at most {LONGEST:g}")
    return value


if __name__ == "__main__":
    sys.exit(main())
