"""The tree of exceptions: one module, one drawing, and a clear answer to whether a retry can help."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import re

import pytest

import airflow_provider_atai
from airflow_provider_atai import errors
from airflow_provider_atai.compat.sdk import SHOWS_PLUGIN_TABS
from airflow_provider_atai.errors import (
    AtaiApiError,
    AtaiConnectionError,
    AtaiError,
    ErrorDetail,
    FineTuneJobError,
    PermanentError,
    RetryableError,
    error_class,
)

ERRORS = "airflow_provider_atai.errors"
BASES = {AtaiError, AtaiApiError, FineTuneJobError}
SPLIT = {RetryableError: "retryable", PermanentError: "permanent"}
_BRANCH = re.compile(r"^( *)(?:\* )?(\w+Error)(?: +(retryable|permanent))?$", re.MULTILINE)


def modules():
    """Every module except the emulator, a program of its own, and pages that this Airflow cannot show."""
    walked = pkgutil.walk_packages(airflow_provider_atai.__path__, "airflow_provider_atai.")
    left_out = (".emulator",) if SHOWS_PLUGIN_TABS else (".emulator", ".ui")
    return [module.name for module in walked if not any(part in module.name for part in left_out)]


def exceptions():
    """Every exception class that the package defines."""
    return [
        kind
        for name in modules()
        for kind in vars(importlib.import_module(name)).values()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == name
    ]


EXCEPTIONS = exceptions()
PUBLIC = [kind for kind in EXCEPTIONS if not kind.__name__.startswith("_")]
CONCRETE = [kind for kind in PUBLIC if kind not in BASES | set(SPLIT)]


def drawn():
    """Read the tree in the docstring: the parent and the answer of each name."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    branch: list[tuple[int, str]] = []
    for indent, name, answer in _BRANCH.findall(errors.__doc__ or ""):
        while branch and branch[-1][0] >= len(indent):
            branch.pop()
        assert name not in tree
        tree[name] = (branch[-1][1] if branch else None, answer or None)
        branch.append((len(indent), name))
    return tree


def test_the_walk_finds_the_whole_package():
    assert {ERRORS, "airflow_provider_atai.retries", "airflow_provider_atai.triggers.fine_tune"} <= {
        *modules()
    }
    assert len(CONCRETE) > 20


def test_every_public_exception_is_defined_in_errors():
    assert {kind.__module__ for kind in PUBLIC} == {ERRORS}
    assert all(issubclass(kind, AtaiError) for kind in PUBLIC)


def test_no_exception_is_an_airflow_exception():
    from airflow.exceptions import AirflowException

    assert [kind for kind in EXCEPTIONS if issubclass(kind, AirflowException)] == []


@pytest.mark.parametrize("kind", CONCRETE)
def test_every_concrete_exception_is_either_retryable_or_permanent(kind):
    assert issubclass(kind, RetryableError) is not issubclass(kind, PermanentError)


@pytest.mark.parametrize("kind", sorted(BASES, key=str))
def test_an_abstract_base_is_neither_retryable_nor_permanent(kind):
    assert not issubclass(kind, (RetryableError, PermanentError))


def test_the_docstring_draws_the_tree_as_it_is():
    tree: dict[str, tuple[str | None, str | None]] = {AtaiError.__name__: (None, None)}
    for kind in PUBLIC:
        if kind in {AtaiError, *SPLIT}:
            continue
        parent = kind.__mro__[1]
        answers = [answer for split, answer in SPLIT.items() if issubclass(kind, split)]
        tree[kind.__name__] = (
            "AtaiError" if parent in SPLIT else parent.__name__,
            answers[0] if answers else None,
        )
    assert drawn() == tree


@pytest.mark.parametrize("status", range(400, 600))
def test_every_http_error_says_whether_a_retry_can_help(status):
    kind = error_class(status)
    retryable = status in (408, 429) or status >= 500
    assert issubclass(kind, RetryableError) is retryable
    assert issubclass(kind, PermanentError) is not retryable


def example(kind):
    """Return an instance of a public exception with every field set."""
    if issubclass(kind, AtaiApiError):
        return kind(
            status_code=418,
            method="GET",
            path="/x",
            details=[ErrorDetail("m", code="C", suggestion="s", error_uid="err-1")],
            retry_after=3.0,
        )
    if issubclass(kind, FineTuneJobError):
        return kind("m", job_id="j", status="FAILED")
    if issubclass(kind, AtaiConnectionError):
        return kind("m", reason="dns")
    return kind("m")


@pytest.mark.parametrize("kind", PUBLIC)
def test_an_exception_crosses_process_borders(kind):
    error = example(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_a_message_without_details_says_so():
    error = error_class(500)(status_code=500, method="GET", path="/v0.5/x")
    assert str(error) == "GET /v0.5/x was answered with HTTP 500: the response gave no reason"
