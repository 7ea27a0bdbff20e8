"""The controls under ``/_emulator``. The service has nothing like them, and they need no key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_atai import __version__
from airflow_provider_atai.emulator.clock import real_now
from airflow_provider_atai.emulator.faults import FaultRule
from airflow_provider_atai.emulator.jobs.life_cycle import Outcome
from airflow_provider_atai.emulator.jobs.rows import record_of
from airflow_provider_atai.emulator.settings import API_PREFIX, CONTROL_PREFIX, Count, Duration, Scale
from airflow_provider_atai.emulator.state import Emulator
from airflow_provider_atai.emulator.strict_input import StrictJsonRoute


# EmulatorControl says what the fields of the bodies mean.
class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _ClockChange(_Strict):
    scale: Scale | None = None
    paused: bool | None = None
    advance: Duration = 0


class _OutcomeChange(_Strict):
    outcome: Outcome
    job_id: str | None = None
    name: str | None = None


class _ApiKeyChange(_Strict):
    api_key: str = Field(min_length=1)
    organisation: Count = 0


def control_router(emulator: Emulator) -> APIRouter:
    """Return the routes under ``/_emulator``."""
    router = APIRouter(prefix=CONTROL_PREFIX, route_class=StrictJsonRoute)
    _add_settings(router, emulator)
    _add_behaviour(router, emulator)
    _add_inspection(router, emulator)
    return router


def _add_settings(router: APIRouter, emulator: Emulator) -> None:
    @router.post("/reset")
    async def reset() -> JSONResponse:
        emulator.reset()
        return JSONResponse({})

    @router.put("/api-key")
    async def set_api_key(body: _ApiKeyChange) -> JSONResponse:
        try:
            emulator.organisations.set_key(body.api_key, body.organisation)
        except ValueError as error:
            return _refused(str(error))
        return JSONResponse({})

    @router.patch("/clock")
    async def change_clock(body: _ClockChange) -> JSONResponse:
        emulator.change_clock(scale=body.scale, paused=body.paused, advance=body.advance)
        return JSONResponse(_clock(emulator))

    @router.get("/switches")
    async def switches() -> JSONResponse:
        return JSONResponse(emulator.switches.model_dump())

    @router.patch("/switches")
    async def change_switches(changes: dict[str, Any]) -> JSONResponse:
        return _changed(emulator.change_switches, changes)

    @router.get("/life")
    async def life() -> JSONResponse:
        return JSONResponse(emulator.life.model_dump())

    @router.patch("/life")
    async def change_life(changes: dict[str, Any]) -> JSONResponse:
        return _changed(emulator.change_life, changes)


def _add_behaviour(router: APIRouter, emulator: Emulator) -> None:
    @router.post("/outcomes")
    async def set_outcome(body: _OutcomeChange) -> JSONResponse:
        if body.job_id is not None and body.name is not None:
            return _refused("Give job_id or name, not both")
        try:
            changed = emulator.jobs.set_outcome(body.outcome, job_id=body.job_id, name=body.name)
        except ValueError as error:
            return _refused(str(error))
        return JSONResponse({"changed_jobs": changed})

    @router.get("/faults")
    async def faults() -> JSONResponse:
        return JSONResponse(emulator.faults.described())

    @router.post("/faults")
    async def add_fault(rule: FaultRule) -> JSONResponse:
        return JSONResponse({"id": emulator.faults.add(rule)})

    @router.delete("/faults")
    async def clear_faults(fault_id: Count | None = None) -> JSONResponse:
        emulator.faults.remove(fault_id)
        return JSONResponse({})


def _add_inspection(router: APIRouter, emulator: Emulator) -> None:
    @router.get("")
    async def state(request: Request) -> JSONResponse:
        unfinished = emulator.store.all("SELECT 1 FROM uploads WHERE state != 'completed'")
        return JSONResponse(
            {
                "version": __version__,
                "base_url": f"{str(request.base_url).rstrip('/')}{API_PREFIX}",
                "clock": _clock(emulator),
                "jobs": emulator.jobs.counts(),
                "files": len(emulator.files.all()),
                "unfinished_uploads": len(unfinished),
                "faults": len(emulator.faults.described()),
            }
        )

    @router.get("/requests")
    async def requests() -> Response:
        return Response(emulator.requests.as_json(), media_type="application/json")

    @router.delete("/requests")
    async def clear_requests() -> JSONResponse:
        emulator.requests.clear()
        return JSONResponse({})

    @router.get("/jobs")
    async def jobs() -> JSONResponse:
        emulator.jobs.settle()
        return JSONResponse([record_of(row) for row in emulator.store.all("SELECT * FROM jobs ORDER BY pk")])

    @router.get("/files")
    async def files() -> JSONResponse:
        return JSONResponse([emulator.files.metadata(row) for row in emulator.files.all()])


def _clock(emulator: Emulator) -> dict[str, Any]:
    clock = emulator.clock
    return {"job_time": clock.at(real_now()), "scale": clock.scale, "paused": clock.paused}


def _changed(change: Callable[[dict[str, Any]], BaseModel], changes: dict[str, Any]) -> JSONResponse:
    try:
        return JSONResponse(change(changes).model_dump())
    except ValidationError as error:
        return _refused(error.errors(include_url=False, include_context=False))


def _refused(detail: Any) -> JSONResponse:
    return JSONResponse({"detail": detail}, 400)
