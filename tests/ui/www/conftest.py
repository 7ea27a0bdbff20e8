"""Runs the modules of the pages in Node, where Node is; users and `make test` do without."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from airflow_provider_atai.ui.bundle import WWW

NODE = shutil.which("node")


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory):
    """Return a function that evaluates expressions over the exports of a module, and gives JSON back."""
    if NODE is None:
        pytest.skip("There is no Node")
    folder = tmp_path_factory.mktemp("www")
    # Without this, Node takes a .js file for a script.
    (folder / "package.json").write_text('{"type": "module"}')
    for file in WWW.glob("*.js"):
        (folder / file.name).symlink_to(file)

    def run(module, *expressions, **values):
        script = "\n".join(
            [
                f'import * as m from "{folder.as_uri()}/{module}";',
                f"const v = {json.dumps(values)};",
                f"console.log(JSON.stringify([{', '.join(expressions)}]));",
            ]
        )
        done = subprocess.run(
            [NODE, "--preserve-symlinks", "--preserve-symlinks-main", "--input-type=module", "-e", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return found[0] if len(expressions) == 1 else found

    return run
