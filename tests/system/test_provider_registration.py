"""What Airflow's commands and UI show of the provider."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_providers_list_names_the_provider(system):
    listed = json.loads(system.airflow.command("providers", "list", "--output", "json").stdout)
    assert "airflow-provider-atai" in {provider["package_name"] for provider in listed}


def test_providers_hooks_names_the_connection_type(system):
    listed = json.loads(system.airflow.command("providers", "hooks", "--output", "json").stdout)
    (hook,) = [hook for hook in listed if hook["connection_type"] == "atai"]
    assert hook["class"] == "airflow_provider_atai.hooks.atai.AtaiHook"


def test_connection_form_has_the_providers_fields(system):
    answer = system.api.session.get(f"{system.airflow.url}/ui/connections/hook_meta", timeout=60)
    assert answer.ok
    (form,) = [form for form in answer.json() if form["connection_type"] == "atai"]
    assert form["standard_fields"]["password"]["title"] == "API key"
    assert form["standard_fields"]["login"]["hidden"] is True
    assert set(form["extra_fields"]) == {"timeout", "verify", "proxy", "console_url_template"}


def test_connection_test_passes_with_a_good_key(system):
    done = system.airflow.command("connections", "test", "atai_default", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Connection success" in done.stdout


def test_connection_test_fails_with_a_bad_key(system):
    bad = {"conn_type": "atai", "host": system.emulator.base_url, "password": "sk_unknown"}
    done = system.airflow.command(
        *("connections", "test", "atai_bad"), check=False, AIRFLOW_CONN_ATAI_BAD=json.dumps(bad)
    )
    assert done.returncode == 1
    assert "Connection failed" in done.stdout
    assert "401" in done.stdout
    assert "sk_unknown" not in done.stdout + done.stderr
