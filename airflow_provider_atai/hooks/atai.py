"""The hook: makes an API client from an Airflow connection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_atai.compat.sdk import AirflowNotFoundException, BaseHook
from airflow_provider_atai.errors import (
    AtaiConfigurationError,
    AtaiConnectionError,
    AtaiConnectionMissingError,
    AtaiError,
)
from airflow_provider_atai.hooks.settings import ClientSettings, client_settings
from airflow_provider_atai.provider_info import CONNECTION_TYPE, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from airflow_provider_atai.api.client import AtaiClient
    from airflow_provider_atai.api.files import FilesApi
    from airflow_provider_atai.api.fine_tune import FineTuneApi
    from airflow_provider_atai.compat.sdk import Connection


class AtaiHook(BaseHook):
    """
    Call the Archetype AI API with the address and the key of an Airflow connection.

    Nothing is read or sent before :attr:`client` is used.

    :param atai_conn_id: the connection of type ``atai``. Its host is the API's base URL (default
        ``https://api.u1.archetypeai.app/v0.5``; a bare root gets ``/v0.5``, a path is kept); its password is
        the API key. Known extras: ``timeout`` (seconds), ``verify`` (true, false or a CA bundle's path),
        ``proxy`` (URL) and ``console_url_template`` (a job page's URL that contains ``{job_id}``).
    """

    conn_name_attr = "atai_conn_id"
    default_conn_name = "atai_default"
    conn_type = CONNECTION_TYPE
    hook_name = "Archetype AI"

    def __init__(self, atai_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.atai_conn_id = atai_conn_id

    @staticmethod
    def get_ui_field_behaviour() -> dict[str, Any]:
        """Return the connection form for Airflow before 3.2; newer ones read it from the provider info."""
        return UI_FIELD_BEHAVIOUR

    @cached_property
    def settings(self) -> ClientSettings:
        """
        The connection, read and checked.

        :raises AtaiConfigurationError: it does not exist, has no key, or has a malformed field.
        :raises AtaiConnectionError: Airflow or its secrets backend cannot be asked at the moment.
        """
        from airflow_provider_atai.compat.connection import read_connection

        with _reading(self.atai_conn_id):
            return self._settings(read_connection(self.get_connection, self.atai_conn_id))

    async def aload_settings(self) -> None:
        """
        Read the connection without blocking the event loop, unless it was read already. For triggers.

        :raises AtaiError: as :attr:`settings`.
        """
        from airflow_provider_atai.compat.threads import off_the_loop

        await off_the_loop(lambda: self.settings)

    def forget_connection(self) -> None:
        """Read the connection again at the next call: keys may be rotated while jobs run for hours."""
        self.__dict__.pop("settings", None)
        self.close()

    def close(self) -> None:
        """Close the connections to the service. The hook stays usable and opens new ones."""
        client: AtaiClient | None = self.__dict__.pop("client", None)
        for name in ("fine_tune", "files"):
            self.__dict__.pop(name, None)
        if client is not None:
            client.close()

    def clone(self) -> AtaiHook:
        """Return a hook with the same settings and its own HTTP session."""
        hook = AtaiHook(self.atai_conn_id)
        hook.settings = self.settings
        return hook

    @cached_property
    def client(self) -> AtaiClient:
        """The API client for the connection."""
        from airflow_provider_atai.api.client import AtaiClient

        settings = self.settings
        try:
            return AtaiClient(
                base_url=settings.base_url,
                api_key=settings.api_key,
                timeout=settings.timeout,
                verify=settings.verify,
                proxy=settings.proxy,
            )
        except ValueError as error:
            raise AtaiConfigurationError(f"Connection {self.atai_conn_id!r}: {error}") from None

    @cached_property
    def fine_tune(self) -> FineTuneApi:
        """The calls on fine-tune jobs."""
        from airflow_provider_atai.api.fine_tune import FineTuneApi

        return FineTuneApi(self.client)

    @cached_property
    def files(self) -> FilesApi:
        """The calls on files."""
        from airflow_provider_atai.api.files import FilesApi

        return FilesApi(self.client)

    def get_conn(self) -> AtaiClient:
        """Return :attr:`client`."""
        return self.client

    def console_url(self, job_id: str) -> str | None:
        """
        Return the address of a job's page, or None if the connection has no template.

        No console address is documented, so none is guessed.
        """
        template = self.settings.console_url_template
        return template.replace("{job_id}", quote(job_id, safe="")) if template else None

    def test_connection(self) -> tuple[bool, str]:
        """
        Ask for one job: the cheapest documented call that needs a correct address and key.

        :return: whether it worked, and what to do if it did not.
        """
        from airflow_provider_atai.hooks.connection_advice import explain

        try:
            self.fine_tune.list(limit=1)
        except Exception as error:
            return False, explain(error, conn_id=self.atai_conn_id)
        return True, f"{self.client.base_url} accepted the API key."

    def _settings(self, connection: Connection) -> ClientSettings:
        from airflow_provider_atai.compat.sdk import mask_secret

        extra: Any = connection.extra_dejson
        # Airflow reads what is not JSON as an empty object.
        if not isinstance(extra, dict) or not (connection.extra or "{").lstrip().startswith("{"):
            raise AtaiConfigurationError(
                f"The extra of connection {self.atai_conn_id!r} must be a JSON object. The API key belongs "
                "in the Password field."
            )
        settings = client_settings(
            conn_id=self.atai_conn_id,
            host=connection.host,
            port=connection.port,
            schema=connection.schema,
            login=connection.login,
            password=connection.password,
            extra={key: value for key, value in extra.items() if value not in (None, "")},
            environ=os.environ,
        )
        # A key from ATAI_API_KEY is not a part of the connection, so Airflow does not mask it.
        mask_secret(settings.api_key)
        if settings.proxy:
            mask_secret(settings.proxy)
        return settings


def hook_of(task: Any) -> AtaiHook:
    """Return the hook for the connection that an operator or a sensor names."""
    return AtaiHook(task.atai_conn_id)


@contextmanager
def _reading(conn_id: str) -> Iterator[None]:
    try:
        yield
    except AtaiError:
        raise
    except AirflowNotFoundException as error:
        raise AtaiConnectionMissingError(
            f"Airflow knows no connection {conn_id!r}: {error}. Add a connection of type Archetype AI with "
            "that id."
        ) from None
    except Exception as error:
        from airflow_provider_atai.compat.connection import describe

        # A secrets backend may raise anything, and its outage is treated like one of the service.
        said = f"Airflow cannot read the connection {conn_id!r}: {describe(error)}"
        raise AtaiConnectionError(said, reason="connection") from None
