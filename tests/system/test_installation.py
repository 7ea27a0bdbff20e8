"""
The package installs as Airflow's documents say: with the constraints of the installed Airflow release.

Nothing is installed. A resolver puts together what a release's constraints name, from the packages that there
were on the day of the release, and then the wheel with all of them pinned. It needs the package index.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from flit_core.buildapi import build_wheel

REPOSITORY = Path(__file__).resolve().parents[2]
UV = REPOSITORY / ".uv" / "bin" / "uv"
# The days on which the package index says that the releases were published.
RELEASED = {
    "2.11.0": "2025-05-20",
    "2.11.2": "2026-03-14",
    "3.0.6": "2025-08-29",
    "3.1.8": "2026-03-11",
    "3.2.2": "2026-05-29",
    "3.3.2": "2026-09-17",
}

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        return folder / build_wheel(str(folder))


def resolve(day, requirements, *options):
    argv = [UV, "pip", "compile", "-q", "--no-header", "--no-annotate", "--no-emit-index-url"]
    # All of these releases run on 3.11, whatever Python runs the tests.
    argv += ["--python-version", "3.11", "--exclude-newer", day, *options, "-"]
    done = subprocess.run(argv, input="\n".join(requirements), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


@pytest.mark.parametrize("release", RELEASED)
def test_the_wheel_goes_together_with_the_constraints_of_a_release(wheel, tmp_path, release):
    airflow = f"apache-airflow=={release}"
    constraints = resolve(RELEASED[release], [airflow])
    file = tmp_path / "constraints.txt"
    file.write_text("\n".join(constraints))
    ours = f"airflow-provider-atai @ {wheel.as_uri()}"
    resolved = resolve(RELEASED[release], [airflow, ours], "--constraint", file)
    # Airflow has everything that the package needs.
    assert resolved == {*constraints, ours}
    # The emulator may need more, and never another version.
    emulator = ours.replace(" @", "[emulator] @")
    assert constraints < resolve(RELEASED[release], [airflow, emulator], "--constraint", file)
