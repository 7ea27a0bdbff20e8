"""What the documents name exists, and the layers are as ARCHITECTURE.md draws them."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "airflow_provider_atai"
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "docs/ui.md",
)
TEXTS = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS}
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8"))

# A word in backticks names a path if it has a slash inside, or is a file name with one of these suffixes.
PATH = re.compile(r"(?:[\w.*-]+/)+[\w.*-]*|[\w-]+\.(?:py|md|toml|yml|txt|in)")
MODULE = re.compile(r"(?<![/\w.])(?:airflow_provider_atai|benchmarks|demo|tests)(?:\.\w+)+")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def words_in_backticks(text):
    return [word for span in re.findall(r"`([^`]+)`", FENCE.sub("", text)) for word in span.split()]


def is_made_by_make(path):
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    return f"{path.partition('/')[0]}/" in ignored


def found(path, document):
    """Paths are relative to the repository, to the package or to the document."""
    roots = (REPOSITORY, PACKAGE, (REPOSITORY / document).parent)
    return [match for root in roots for match in root.glob(path)]


def defines(source, name):
    return re.search(rf"^\s*(?:async def|def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE) is not None


def anchors(text):
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document):
    missing = []
    for word in words_in_backticks(TEXTS[document]):
        path, _, name = word.partition("::")
        if not PATH.fullmatch(path) or is_made_by_make(path):
            continue
        files = found(path, document)
        if not files or (name and not any(defines(file.read_text(encoding="utf-8"), name) for file in files)):
            missing.append(word)
    assert missing == []


def test_every_picture_is_shown_in_light_and_dark():
    shown = re.findall(r'(?:src|srcset)="pictures/([^"]+)"', TEXTS["docs/ui.md"])
    assert sorted(shown) == sorted(path.name for path in (REPOSITORY / "docs/pictures").iterdir())
    assert {name.removesuffix("-light.png") for name in shown if name.endswith("-light.png")} == {
        name.removesuffix("-dark.png") for name in shown if name.endswith("-dark.png")
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[document]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (REPOSITORY / document).parent / path if path else REPOSITORY / document
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_exist(document):
    missing = []
    for dotted in MODULE.findall(TEXTS[document]):
        path = REPOSITORY.joinpath(*dotted.split("."))
        owner = path.parent.with_suffix(".py")
        is_module = path.with_suffix(".py").exists() or path.is_dir()
        if not is_module and not (
            owner.exists() and defines(owner.read_text(encoding="utf-8"), dotted.rpartition(".")[2])
        ):
            missing.append(dotted)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_imports_of_the_examples_work(document):
    for module, names in re.findall(
        r"^from (airflow_provider_atai[\w.]*) import ([\w, ]+)$", TEXTS[document], re.M
    ):
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def unknown_to_make(arguments):
    targets = set(re.findall(r"^([a-z][a-z0-9.-]*):", MAKEFILE, re.MULTILINE))
    unknown = []
    for word in arguments.split():
        variable, is_setting, _ = word.partition("=")
        known = re.search(rf"\b{variable}\b", MAKEFILE) if is_setting else word in targets
        if not word.startswith("--") and not known:
            unknown.append(word)
    return unknown


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document):
    text = TEXTS[document]
    calls = re.findall(r"`make ([^`]+)`", FENCE.sub("", text))
    calls += re.findall(r"^make ([^\n#]+)", "\n".join(FENCE.findall(text)), re.MULTILINE)
    assert [word for call in calls for word in unknown_to_make(call)] == []


def commands_of_ci():
    return [
        step["run"].replace("${{ matrix.target }}", target)
        for job in WORKFLOW["jobs"].values()
        for target in job.get("strategy", {}).get("matrix", {}).get("target", [""])
        for step in job["steps"]
        if "run" in step
    ]


def commands_of_hooks():
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    return [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]


@pytest.mark.parametrize("commands", [commands_of_ci, commands_of_hooks], ids=["ci", "hooks"])
def test_ci_and_hooks_call_nothing_but_make(commands):
    for command in commands():
        program, _, arguments = command.partition(" ")
        assert program == "make"
        assert unknown_to_make(arguments) == []


def test_ci_runs_all_that_make_test_runs():
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    parts = re.findall(r"\$\(MAKE\) --no-print-directory ([a-z][a-z0-9. -]*)$", recipe[1], re.MULTILINE)
    asked_for = {word for line in parts for word in line.split()}
    assert len(asked_for) > 4
    assert asked_for <= {word for command in commands_of_ci() for word in command.split()}


def test_ci_tests_every_python_that_the_package_names():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"])))
    assert set(WORKFLOW["jobs"]["everyday"]["strategy"]["matrix"]["python"]) == named


def test_ci_may_only_read():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all("permissions" not in job and job["timeout-minutes"] <= 60 for job in WORKFLOW["jobs"].values())


def test_the_bug_form_asks_for_versions_job_and_log():
    form = yaml.safe_load((REPOSITORY / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    required = {field["id"] for field in form["body"] if field.get("validations", {}).get("required")}
    assert {"airflow-version", "provider-version", "job-id", "task-log"} <= required


def section(heading):
    return TEXTS["ARCHITECTURE.md"].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_each_promise_names_the_files_that_keep_it_and_the_tests_that_notice():
    rows = re.findall(r"^\| \d\. [^|]+\|([^|]+)\|([^|]+)\|$", section("The six promises"), re.MULTILINE)
    assert len(rows) == 6
    for kept_by, noticed_by in rows:
        assert re.search(r"`[\w/]+\.py`", kept_by)
        assert re.search(r"`tests/[\w/]+/?(?:\.py)?(?:::\w+)?`", noticed_by)


def layers():
    drawing = section("Layers").split("```")[1]
    return [line.partition("|")[0].split() for line in drawing.splitlines() if "|" in line]


def test_every_folder_of_the_package_has_a_place():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    beside = {folder for folder in folders if f"- `{folder}/` stands" in section("Layers")}
    assert beside == {"compat", "emulator", "testing", "ui"}
    assert folders - beside <= {name for row in layers() for name in row}


def imported_parts(source):
    """Yield the parts of the package that a module imports when it runs; types alone do not count."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes.extend(node.orelse)
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_atai."):
            yield str(node.module).split(".")[1]
        nodes.extend(ast.iter_child_nodes(node))


def test_imports_go_down_the_layers():
    rows = layers()
    assert rows[-1] == ["errors"]
    upwards = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        row = next((number for number, row in enumerate(rows) if part in row), None)
        if part == "compat":
            allowed = {"compat"}
        elif row is not None:
            allowed = {"compat", *(name for below in rows[row:] for name in below)}
        else:
            continue
        imported = set(imported_parts(path.read_text(encoding="utf-8")))
        upwards += [f"{path.relative_to(PACKAGE)} imports {name}" for name in sorted(imported - allowed)]
    assert upwards == []
