from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest import mock

import pytest

from airflow_provider_atai.api.fine_tune import FineTuneJob
from airflow_provider_atai.compat.sdk import TRIGGERERS_RUN_WHOLE_TASKS
from airflow_provider_atai.hooks.atai import AtaiHook
from airflow_provider_atai.operators.fine_tune import CancelFineTuneJobOperator
from airflow_provider_atai.sensors.fine_tune import FineTuneJobSensor
from airflow_provider_atai.triggers.fine_tune import FineTuneJobTrigger
from airflow_provider_atai.waiting.policy import Ending
from airflow_provider_atai.waiting.result import WaitResult
from airflow_provider_atai.waiting.summary import summarise
from tests.harness.airflow_names import DAG
from tests.harness.datasets import store_dataset

only_where_airflow_can = pytest.mark.skipif(not TRIGGERERS_RUN_WHOLE_TASKS, reason="needs Airflow 3.3")
BOTH = {"start_from_trigger": True, "end_from_trigger": True}


def sensor(**arguments):
    return FineTuneJobSensor(**{"task_id": "wait", "job_id": "job-1", "timeout": 3600, **arguments})


@pytest.mark.skipif(TRIGGERERS_RUN_WHOLE_TASKS, reason="Airflow can")
def test_before_airflow_3_3_the_sensor_defers_the_ordinary_way():
    waits = sensor(**BOTH)
    assert waits.deferrable
    assert not waits.start_from_trigger
    assert not waits.end_from_trigger


@only_where_airflow_can
class TestStart:
    def test_the_trigger_gets_what_a_worker_would_give_it(self):
        waits = sensor(**BOTH, accept_stopped=True, poke_interval=7, atai_conn_id="other")
        assert waits.deferrable
        arguments = waits.start_trigger_args.trigger_kwargs
        path, serialised = FineTuneJobTrigger(**arguments).serialize()
        assert path == waits.start_trigger_args.trigger_cls
        assert {name: serialised[name] for name in arguments} == arguments
        assert arguments == {
            "job_id": "job-1",
            "atai_conn_id": "other",
            "poll_interval": 7.0,
            "max_interval": None,
            "end_task": True,
            "accept_stopped": True,
            "push_xcom": True,
            "before_timeout": 300.0,
        }
        assert waits.start_trigger_args.timeout == timedelta(seconds=3900)
        assert waits.start_trigger_args.next_method == "execute_complete"

    def test_another_tasks_output_travels_as_jinja(self):
        with DAG(dag_id="zero_workers", schedule=None):
            job = CancelFineTuneJobOperator(task_id="create", job_id="job-1")
            waits = sensor(job_id=job.output, **BOTH)
        arguments = json.loads(json.dumps(waits.start_trigger_args.trigger_kwargs))
        assert arguments["job_id"] == (
            "{{ ti.xcom_pull(task_ids='create', key='return_value', map_indexes=-1) }}"
        )
        assert waits.upstream_task_ids == {"create"}

    @pytest.mark.parametrize("job_id", ["{{ params.job_id }}", "job-{{ ds }}", "job-1"])
    def test_templates_without_xcoms_travel_as_they_are(self, job_id):
        assert sensor(job_id=job_id, **BOTH).start_trigger_args.trigger_kwargs["job_id"] == job_id

    def test_what_the_triggerer_cannot_render_starts_on_a_worker(self):
        with DAG(dag_id="mapped", schedule=None):
            many = CancelFineTuneJobOperator.partial(task_id="many").expand(job_id=["a", "b"])
            for number, job_id in enumerate(
                ("{{ ti.xcom_pull(task_ids='create') }}", many.output, many.output.map(str))
            ):
                waits = sensor(task_id=f"wait_{number}", job_id=job_id, **BOTH)
                assert not waits.start_from_trigger
                assert waits.end_from_trigger
                assert waits.deferrable

    def test_the_dag_can_be_serialised(self):
        from airflow.serialization.serialized_objects import BaseSerialization, DagSerialization

        with DAG(dag_id="serialised", schedule=None) as dag:
            sensor(**BOTH)
        task = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("wait")
        assert task.start_from_trigger
        arguments = BaseSerialization.deserialize(task.start_trigger_args.trigger_kwargs)
        assert arguments == sensor(**BOTH).start_trigger_args.trigger_kwargs

    def test_two_sensors_do_not_share_their_trigger_arguments(self):
        first, second = sensor(job_id="job-1", **BOTH), sensor(job_id="job-2", **BOTH)
        assert first.start_trigger_args.trigger_kwargs["job_id"] == "job-1"
        assert second.start_trigger_args.trigger_kwargs["job_id"] == "job-2"
        assert sensor().start_trigger_args is None
        assert not sensor().start_from_trigger

    def test_the_deadline_comes_from_airflows_own_timeout(self):
        trigger = FineTuneJobTrigger(job_id="job-1", before_timeout=300)
        assert trigger._deadline() is None
        trigger.timeout_after = datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
        assert trigger._deadline() == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        # Some databases give times back without their zone.
        trigger.timeout_after = datetime(2026, 11, 23, 12, 5)
        assert trigger._deadline() == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@only_where_airflow_can
class TestEnd:
    @pytest.fixture
    def job(self, atai_emulator):
        atai_emulator.pause()
        dataset = store_dataset(atai_emulator)
        return AtaiHook().fine_tune.create(name="j", datasets=[dataset], job_id="job-1")

    def event(self, **arguments):
        async def run():
            trigger = FineTuneJobTrigger(job_id="job-1", **arguments)
            trigger._task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
            return [event async for event in trigger.run()]

        (event,) = asyncio.run(run())
        return event

    @pytest.fixture(autouse=True)
    def pushed(self, monkeypatch):
        from airflow.sdk.execution_time.xcom import XCom

        push = mock.create_autospec(XCom.set)
        monkeypatch.setattr(XCom, "set", push)
        return push

    @pytest.mark.parametrize("push_xcom", [True, False])
    def test_a_success_ends_the_task_with_its_xcom(self, atai_emulator, job, pushed, push_xcom):
        atai_emulator.advance(3600)
        event = self.event(end_task=True, push_xcom=push_xcom)
        assert type(event).__name__ == "TaskSuccessEvent"
        assert pushed.call_count == push_xcom
        if push_xcom:
            assert pushed.call_args.args[0] == "return_value"
            assert pushed.call_args.args[1]["status"] == "COMPLETED"
            assert pushed.call_args.kwargs == {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1}

    def test_a_worker_ends_the_task_if_the_xcom_cannot_be_pushed(self, atai_emulator, job, pushed):
        pushed.side_effect = RuntimeError("no supervisor")
        atai_emulator.advance(3600)
        assert self.event(end_task=True).payload["ending"] == "completed"

    @pytest.mark.parametrize(
        ("status", "accept_stopped", "ends"),
        [
            ("FAILED", False, False),
            ("CANCELLED", True, False),
            ("STOPPED", False, False),
            ("STOPPED", True, True),
        ],
    )
    def test_only_a_success_ends_in_the_triggerer(self, atai_emulator, job, status, accept_stopped, ends):
        atai_emulator.set_outcome(status, job_id=job.id)
        atai_emulator.advance(3600)
        event = self.event(end_task=True, accept_stopped=accept_stopped)
        assert (type(event).__name__ == "TaskSuccessEvent") is ends
        if not ends:
            assert event.payload["ending"] == status.lower()

    def test_a_job_without_a_checkpoint_is_left_to_a_worker(self, atai_emulator, job):
        atai_emulator.set_outcome("STOPPED", job_id=job.id, at=1)
        atai_emulator.advance(3600)
        event = self.event(end_task=True, accept_stopped=True)
        assert (event.payload["ending"], event.payload["has_checkpoint"]) == ("stopped", False)

    @pytest.mark.parametrize("job_id", ["None", "", "a/b"])
    def test_a_wrongly_rendered_id_ends_the_wait(self, atai_emulator, job_id):
        async def run():
            return [event async for event in FineTuneJobTrigger(job_id=job_id, end_task=True).run()]

        (event,) = asyncio.run(run())
        assert event.payload["ending"] == "not_found"

    def test_asset_events_need_a_worker(self):
        from airflow.sdk import Asset

        assert sensor(**BOTH).end_from_trigger
        assert not sensor(**BOTH, outlets=[Asset("model")]).end_from_trigger


@only_where_airflow_can
class TestListeners:
    """Airflow refuses a whole DAG file if a task of it ends in the triggerer and a plugin has a listener."""

    @pytest.fixture
    def listener(self):
        from airflow.listeners import hookimpl
        from airflow.listeners.listener import get_listener_manager

        class Listener:
            @hookimpl
            def on_task_instance_success(self, previous_state, task_instance):
                """Do nothing."""

        manager = get_listener_manager()
        listener = Listener()
        manager.add_listener(listener)
        yield listener
        manager.pm.unregister(listener)

    @pytest.fixture
    def bag(self):
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(dag_folder="/dev/null", collect_dags=False)

    def dag(self):
        with DAG(dag_id="listened", schedule=None) as dag:
            sensor(**BOTH)
        return dag

    def test_airflow_refuses_what_the_sensor_avoids(self, listener, bag):
        dag = self.dag()
        dag.get_task("wait").end_from_trigger = True
        with pytest.raises(Exception, match="Listeners are not supported"):
            bag.bag_dag(dag)

    def test_the_dag_loads_and_the_task_ends_on_a_worker(self, listener, bag):
        dag = self.dag()
        bag.bag_dag(dag)
        waits = dag.get_task("wait")
        assert waits.start_from_trigger
        assert not waits.end_from_trigger
        assert waits.start_trigger_args.trigger_kwargs["end_task"] is False

    @pytest.mark.parametrize("listens", [True, False])
    def test_the_log_says_so_once(self, request, listens, capfd, caplog):
        if listens:
            request.getfixturevalue("listener")
        waits = sensor(**BOTH)
        job = FineTuneJob(id="job-1", name="x", status="COMPLETED", inference_config_path="s3://x")
        event = WaitResult(Ending.COMPLETED, "job-1", summary=summarise(job, None)).to_event()
        waits.execute_complete({}, event)
        said = (caplog.text + capfd.readouterr().out).count("end_from_trigger has no effect")
        assert said == listens
