from __future__ import annotations

import pytest

from airflow_provider_atai.compat.sdk import TRIGGERERS_RUN_WHOLE_TASKS
from airflow_provider_atai.retries import fine_tune_retry_policy


@pytest.mark.skipif(TRIGGERERS_RUN_WHOLE_TASKS, reason="Airflow has retry policies")
def test_an_airflow_without_retry_policies_is_named_as_the_reason():
    with pytest.raises(RuntimeError, match=r"needs Airflow 3\.3 or newer"):
        fine_tune_retry_policy()
