"""The web application behind the job pages. Only Airflow's API server imports it."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from airflow_provider_atai.ui import job_routes, list_routes
from airflow_provider_atai.ui.bundle import WWW, content_hash


def create_app() -> FastAPI:
    """
    Return the application.

    Airflow mounts it and passes nothing of its own protection on, so each route but that of the static files
    names what a user must be allowed to do. ``tests/ui/test_security.py`` walks over all of them.
    """
    app = FastAPI(title="Archetype AI fine-tune jobs", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(job_routes.router)
    app.include_router(list_routes.router)
    app.add_api_route("/static/{version}/{name}", static_file, methods=["GET"])
    return app


def static_file(version: str, name: str) -> Response:
    """Return a file of the pages. They hold no secret, and the browser needs them before anything else."""
    path = {path.name: path for path in WWW.glob("*.js")}.get(name)
    if path is None:
        return Response(status_code=404)
    # An API server of another version may have named the address: during an upgrade there are two.
    fresh = version == content_hash()
    caching = "public, max-age=31536000, immutable" if fresh else "no-store"
    return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": caching})
