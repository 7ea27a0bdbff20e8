"""What a user can set while the emulator runs: switches for undocumented behaviour, and durations."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_atai.emulator.clock import JobClock

API_PREFIX = "/v0.5"
# The official client calls the same API under this prefix.
CLIENT_PREFIX = "/api"
CONTROL_PREFIX = "/_emulator"
DEFAULT_API_KEY = "sk_emulator"
HOW_TO_INSTALL = "pip install 'airflow-provider-atai[emulator]'"
DEFAULT_MODEL = "Newton::c2_4_7b_251215a172f6d7"
KNOWN_MODELS = (DEFAULT_MODEL, "Newton::c2_4_3b_251215dfe6a746")
# The largest integer that the database can hold.
LARGEST_INTEGER = 2**63 - 1

# 31 years. The job clock stays a finite number, however often it is moved by as much.
LONGEST = 1e9

Scale = Annotated[float, Field(ge=1 / LONGEST, le=LONGEST)]
Duration = Annotated[float, Field(ge=0, le=LONGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
_Bytes = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


class Switches(BaseModel):
    """
    Behaviour that no document settles. Each default is the likely answer.

    The texts below the switches are their descriptions, and ``docs/emulator.md`` repeats them.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    create_status: Literal[200, 201] = 200
    """The HTTP status of a created job."""
    duplicate_job_id: Literal["conflict", "return_existing", "create_second"] = "conflict"
    """
    What a create answers if a job has its id already: 409; the existing job; or a second job with the same
    id, which later requests for that id find.
    """
    job_ids: Literal["as_asked", "own"] = "as_asked"
    """Whether a created job gets the id that was asked for, or one that the service makes in any case."""
    terminal_action: Literal["conflict", "return_record"] = "conflict"
    """What stop and cancel answer for a terminal job: 409, or its record."""
    stop_finalizing: Literal["stopping", "conflict", "ignored"] = "stopping"
    """What stop does in FINALIZING: stops the job; answers 409; or answers its record and changes nothing."""
    file_ids: Literal["resolved", "echoed"] = "resolved"
    """
    Whether a job's record resolves file ids to names, and file uids are valid too; or shows them as they
    were sent, and only file names are valid.
    """
    required_splits: Literal["none", "train", "train_and_eval"] = "train"
    """The splits that a job's datasets must include."""
    extra_fields: Literal["accepted", "refused"] = "accepted"
    """Whether fields that no document names are ignored, or refused with 400."""
    unknown_model: Literal["accepted", "refused"] = "accepted"
    """Whether a model other than the two known ones is refused with 400."""
    get_job_by_uuid: bool = False
    """Whether a job is also found under its uuid."""
    list_order: Literal["newest_first", "oldest_first"] = "newest_first"
    """The order of the list of jobs."""
    completed_inference_config: bool = True
    """Whether a COMPLETED job has an inference_config_path."""
    stopped_inference_config: bool = False
    """Whether a STOPPED job that has a checkpoint has an inference_config_path."""
    lost_file_fails_job: bool = True
    """Whether a job FAILs if one of its files is deleted or overwritten before it RUNs."""
    third_party_endpoints: bool = False
    """Whether there are DELETE /fine-tune/jobs/{id} and GET /fine-tune/status, known from a third party."""
    fine_tune_under_api: bool = False
    """Whether the fine-tune API is served under /api too, as the Files API is."""
    validation_errors: Literal["errors", "detail_list"] = "errors"
    """The answer to a malformed body: the documented envelope (400), or FastAPI's detail list (422)."""
    authentication_errors: Literal["detail", "errors"] = "detail"
    """The body of a 401: a detail text, or the documented envelope."""
    not_found_errors: Literal["errors", "detail"] = "errors"
    """The body of a 404: the documented envelope, or a detail text."""
    part_number_base: Literal[1, 0] = 1
    """The number of the first part of an upload."""
    part_content_type: Literal["accepted", "refused"] = "accepted"
    """Whether a part's URL takes a Content-Type header: its signature covers the host alone, or that too."""
    part_size: _Bytes = 419_430_400
    """Bytes in a part of a direct upload."""
    presigned_url_seconds: Annotated[float, Field(ge=-1e9, le=1e9)] = 3600
    """How long a part's URL works. 0 or less: never."""
    initiate_over_unfinished: Literal["conflict", "replace"] = "conflict"
    """
    What an initiate without resume_if_started does while an upload of that name is unfinished: answers 409,
    or aborts the older upload.
    """
    direct_max_bytes: _Bytes = 250_000_000_000
    """The largest file of a direct upload."""
    proxy_max_bytes: _Bytes = 512_000_000
    """The largest file of POST /files and POST /files/base64, in bytes as they are sent."""
    proxy_application_json: Literal["accepted", "refused"] = "accepted"
    """Whether POST /files takes files declared as application/json."""


class Life(BaseModel):
    """How long things take, in seconds of the job clock, for jobs and files that are made afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    registered: Duration = 5
    starting: Duration = 20
    running: Annotated[float, Field(gt=0, le=LONGEST)] = 600
    finalizing: Duration = 15
    stopping: Duration = 5
    # Checkpoints over the whole of RUNNING, and training steps between two of them.
    checkpoints: Annotated[int, Field(ge=1, le=10_000)] = 5
    checkpoint_steps: Annotated[int, Field(ge=1, le=10**9)] = 200
    # Until a file is ingested and its attributes are known.
    ingest: Duration = 2


class Conditions(Protocol):
    """What jobs and files read of the emulator, afresh for every request."""

    switches: Switches
    life: Life

    @property
    def clock(self) -> JobClock:
        """The job clock at this instant."""
