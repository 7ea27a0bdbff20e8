"""What a user of the emulator can set while it runs: switches for undocumented behaviour, and durations."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

API_PREFIX = "/v0.5"
CLIENT_PREFIX = "/api"
DEFAULT_API_KEY = "sk_emulator"
HOW_TO_INSTALL = "pip install 'airflow-provider-atai[emulator]'"
DEFAULT_MODEL = "Newton::c2_4_7b_251215a172f6d7"
# What the database can hold.
LARGEST_INTEGER = 2**63 - 1
KNOWN_MODELS = (DEFAULT_MODEL, "Newton::c2_4_3b_251215dfe6a746")


class Switches(BaseModel):
    """
    Behaviour that no document settles. Each default is the likely answer.

    The descriptions are the documentation: ``GET /_emulator/switches`` and ``docs/emulator.md`` show them.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    create_status: Literal[200, 201] = Field(200, description="HTTP status of a created job.")
    duplicate_job_id: Literal["conflict", "return_existing", "create_second"] = Field(
        "conflict",
        description="What a create with an id that a job has already answers: 409; the existing job; or a "
        "second job of the same id, which later requests for that id then find.",
    )
    terminal_action: Literal["conflict", "return_record"] = Field(
        "conflict", description="What stop and cancel answer for a job that is over: 409, or its record."
    )
    stop_finalizing: Literal["stopping", "conflict", "ignored"] = Field(
        "stopping",
        description="What stop does to a job in FINALIZING: stops it; answers 409; or answers the record and "
        "lets the job complete.",
    )
    file_ids: Literal["echoed", "resolved"] = Field(
        "echoed",
        description="Whether a job's record shows the file ids as they were sent, which then must be file "
        "names; or resolves them to names, which then may also be file uids.",
    )
    required_splits: Literal["none", "train", "train_and_eval"] = Field(
        "train", description="The splits that a job's datasets must have."
    )
    extra_fields: Literal["accepted", "refused"] = Field(
        "accepted", description="What happens to fields that no document names: ignored, or 400."
    )
    unknown_model: Literal["accepted", "refused"] = Field(
        "accepted", description="Whether a model other than the two known ones is refused with 400."
    )
    get_job_by_uuid: bool = Field(False, description="Whether a job is also found under its uuid.")
    list_order: Literal["newest_first", "oldest_first"] = Field(
        "newest_first", description="The order of the list of jobs."
    )
    completed_inference_config: bool = Field(
        True, description="Whether a COMPLETED job has an inference_config_path."
    )
    stopped_inference_config: bool = Field(
        False, description="Whether a STOPPED job that has a checkpoint has an inference_config_path."
    )
    lost_file_fails_job: bool = Field(
        True,
        description="Whether a job FAILs when one of its files is deleted or overwritten before it RUNs.",
    )
    third_party_endpoints: bool = Field(
        False,
        description="Whether DELETE /fine-tune/jobs/{id} and GET /fine-tune/status exist, which only a third "
        "party's client knows.",
    )
    fine_tune_under_api: bool = Field(
        False, description="Whether the fine-tune API is served under /api too, as the Files API is."
    )
    validation_errors: Literal["errors", "detail_list"] = Field(
        "errors",
        description="Answer to a malformed body: 400 with the documented envelope, or FastAPI's 422 with a "
        "detail list.",
    )
    authentication_errors: Literal["detail", "errors"] = Field(
        "detail", description="Body of a 401: a detail text, or the documented envelope."
    )
    not_found_errors: Literal["errors", "detail"] = Field(
        "errors", description="Body of a 404: the documented envelope, or a detail text."
    )
    part_number_base: Literal[0, 1] = Field(0, description="The number of the first part of an upload.")
    part_size: int = Field(
        419_430_400, ge=1, le=LARGEST_INTEGER, description="Bytes in a part of a direct upload."
    )
    presigned_url_seconds: float = Field(
        3600, ge=-1e9, le=1e9, description="How long a part's URL works. 0 or less: never."
    )
    initiate_over_unfinished: Literal["conflict", "replace"] = Field(
        "conflict",
        description="What an initiate without resume_if_started does while an upload of that name is "
        "unfinished: answers 409, or aborts the older upload.",
    )
    direct_max_bytes: int = Field(
        250_000_000_000, ge=1, le=LARGEST_INTEGER, description="Largest file of a direct upload."
    )
    proxy_max_bytes: int = Field(
        512_000_000,
        ge=1,
        description="Largest file of POST /files and POST /files/base64, in bytes as they are sent.",
    )
    proxy_application_json: Literal["accepted", "refused"] = Field(
        "accepted", description="Whether POST /files takes parts declared as application/json."
    )


class Life(BaseModel):
    """How long things take, in seconds of the job clock, for jobs and files made from then on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    registered: float = Field(5, ge=0, description="Time in REGISTERED.")
    starting: float = Field(20, ge=0, description="Time in STARTING.")
    running: float = Field(600, gt=0, description="Time in RUNNING.")
    finalizing: float = Field(15, ge=0, description="Time in FINALIZING.")
    stopping: float = Field(5, ge=0, description="Time in STOPPING.")
    checkpoints: int = Field(5, ge=1, description="Checkpoints over the whole of RUNNING.")
    checkpoint_steps: int = Field(200, ge=1, description="Training steps between two checkpoints.")
    ingest: float = Field(2, ge=0, description="Time until a file is ingested and its attributes are known.")
