"""Draws what usually happens in a life from its seed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.chaos.oddities import Oddities

JOBS = "/fine-tune/jobs"
SHAPES = (
    "worker",
    "worker",
    "triggerer",
    "triggerer",
    "poke",
    "reschedule",
    "deferred sensor",
    "sensor without workers",
)
HORIZON = 6 * 3600.0

Action = Literal["mark failed", "mark success", "clear", "drain"]


@dataclass(frozen=True)
class Rule:
    """
    One way in which the service misbehaves.

    :param kind: the name under which its hits are counted.
    :param rule: the fault rule for the emulator.
    :param window: start and duration in seconds of the life; None for the whole life.
    """

    kind: str
    rule: dict[str, Any]
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class UserAction:
    """
    What a person does to the task or, for ``drain``, to the machine that it runs on.

    :param lingers: whether the worker's process survives SIGTERM for a few seconds.
    :param lateness: how many points of the next try pass before the ``on_kill`` of a cleared task's trigger
        runs; 0 if it runs before that try.
    """

    action: Action
    lingers: bool
    lateness: int


@dataclass(frozen=True)
class Blow:
    """
    What hits one process of the task.

    :param point: the number of the point at which it hits.
    :param what: ``killed`` for a kill of the worker or triggerer, else a person's action.
    :param downtime: how many seconds the triggerer is down.
    """

    point: int
    what: Literal["killed"] | UserAction
    downtime: float


@dataclass(frozen=True)
class Plan:
    """Everything that one seed decides about a life."""

    seed: int
    shape: str
    operator: dict[str, Any]
    sensor: dict[str, Any]
    execution_timeout: float | None
    retries: int
    switches: dict[str, Any]
    job_life: dict[str, float]
    outcomes: list[dict[str, Any]]
    rules: list[Rule]
    key_rotation: tuple[float, float] | None
    service_restart: tuple[float, float] | None
    user_actions: list[tuple[float, UserAction]]
    triggerer_restarts: list[tuple[float, float]]
    kills_reach_triggers: bool
    states_are_readable: bool
    clears_after_the_end: int
    own_job_id: str | None = None
    tampers_with_created_at: bool = False
    odd: Oddities = field(default_factory=Oddities)

    @property
    def reattaches(self) -> bool:
        """Whether a try adopts the job of an earlier try."""
        return bool(self.operator.get("reattach", True))

    def blow(self, process: int) -> Blow | None:
        """Return what hits the process with this number, or None if nothing does."""
        rng = Random(f"{self.seed} process {process}")
        if rng.random() > (0.3 if process < 12 else 0):
            return None
        point = rng.randint(1, 8) if rng.random() < 0.7 else rng.randint(1, 60)
        what: Any = "killed" if rng.random() < 0.75 else _user_action(rng)
        if what == "killed" and Random(f"{self.seed} drained {process}").random() < 0.25:
            what = UserAction("drain", lingers=rng.random() < 0.5, lateness=0)
        return Blow(point, what, downtime=_downtime(rng))


def draw_usual(seed: int) -> Plan:
    """Return the plan of the life with this seed, without what may be odd about it."""
    rng = Random(seed)
    shape = rng.choice(SHAPES)
    accept_stopped = rng.random() < 0.3
    switches = {
        "duplicate_job_id": rng.choice(["conflict", "conflict", "return_existing", "create_second"]),
        "create_status": rng.choice([200, 201]),
        "terminal_action": rng.choice(["conflict", "return_record"]),
        "stop_finalizing": rng.choice(["stopping", "conflict", "ignored"]),
        "stopped_inference_config": rng.random() < 0.3,
        "not_found_errors": rng.choice(["errors", "detail"]),
        "authentication_errors": rng.choice(["errors", "detail"]),
        "list_order": rng.choice(["newest_first", "oldest_first"]),
    }
    rules = [_rule(rng, switches) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
    rules += [_window(rng) for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))]
    return Plan(
        seed=seed,
        shape=shape,
        operator={
            "accept_stopped": accept_stopped,
            "kill_action": rng.choice(["cancel", "cancel", "stop", "leave"]),
            "timeout_action": rng.choice(["cancel", "stop", "leave"]),
            "timeout": rng.choice([None, rng.uniform(300, 6000)]),
            "poll_interval": rng.uniform(20, 180),
        },
        sensor={
            "accept_stopped": accept_stopped,
            "timeout": rng.uniform(600, 20_000),
            "poke_interval": rng.uniform(20, 180),
            "soft_fail": rng.random() < 0.25,
        },
        execution_timeout=rng.uniform(300, 6000) if rng.random() < 0.25 else None,
        retries=rng.choice([0, 2, 3, 5, 8]),
        switches=switches,
        job_life={
            "registered": rng.uniform(0, 60),
            "starting": rng.uniform(0, 600),
            "running": rng.uniform(30, 3600),
            "finalizing": rng.uniform(0, 120),
            "stopping": rng.uniform(0, 90),
        },
        outcomes=[_outcome(rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))],
        rules=rules,
        key_rotation=(rng.uniform(0, 2000), rng.choice([0, 0, rng.uniform(1, 900)]))
        if rng.random() < 0.12
        else None,
        service_restart=(rng.uniform(0, 2000), rng.uniform(1, 3000)) if rng.random() < 0.05 else None,
        user_actions=[
            (rng.uniform(0, 3000), _user_action(rng)) for _ in range(rng.choice([0, 0, 0, 0, 1, 2]))
        ],
        triggerer_restarts=[
            (rng.uniform(0, 3000), _downtime(rng)) for _ in range(rng.choice([0, 0, 0, 1, 1, 3]))
        ],
        kills_reach_triggers=rng.random() < 0.85,
        states_are_readable=rng.random() < 0.8,
        clears_after_the_end=rng.choice([0, 0, 1, 2]),
        own_job_id=f"own-{seed}" if rng.random() < 0.08 else None,
        tampers_with_created_at=any(rule.kind == "odd times" for rule in rules),
    )


def _outcome(rng: Random) -> dict[str, Any]:
    kind = rng.choice(["ends", "ends", "ends", "passes", "stuck", "no model"])
    if kind == "ends":
        at = rng.choice([None, None, 0, rng.uniform(0, 1500), "STARTING", "FINALIZING"])
        return {"status": rng.choice(["FAILED", "STOPPED", "CANCELLED"]), "at": at}
    if kind == "passes":
        status = rng.choice(["UNKNOWN", "PAUSED", "preempted"])
        return {"status": status, "at": rng.uniform(0, 900), "for_seconds": rng.uniform(10, 3000)}
    if kind == "stuck":
        return {"status": rng.choice(["STARTING", "RUNNING", "UNKNOWN", "QUEUED", "STOPPING"])}
    return {"status": "COMPLETED", "inference_config": False}


def _rule(rng: Random, switches: dict[str, Any]) -> Rule:
    """Return a fault that hits a few requests."""
    method, path = rng.choice(
        [
            ("GET", f"{JOBS}/*"),
            ("GET", f"{JOBS}/*"),
            ("POST", JOBS),
            ("POST", JOBS),
            ("PUT", f"{JOBS}/**"),
            ("GET", f"{JOBS}/*/metrics"),
            ("*", "/fine-tune/**"),
        ]
    )
    kind, effect = rng.choice(_MISHAPS)
    if kind == "stale 404" and (switches["duplicate_job_id"] == "create_second" or method != "GET"):
        # No client can avoid a duplicate if the service denies a job and then creates another with its id.
        kind, effect = "server error", {"status": 500}
    if kind == "odd times":
        method, path = "GET", f"{JOBS}/*"
    count = rng.choice([1, 1, 1, 2, 3, 6])
    return Rule(
        kind,
        {
            "method": method,
            "path": path,
            "skip": rng.choice([0, 0, 1, rng.randint(0, 15)]),
            "count": count,
            **_drawn(rng, effect),
        },
    )


def _window(rng: Random) -> Rule:
    """Return an outage: a fault that hits every request for a while."""
    outages: list[tuple[str, dict[str, Any]]] = [
        ("outage", {"status": 503}),
        ("outage", {"status": 502, "body": "html"}),
        ("outage", {"effect": "drop_before"}),
        ("outage", {"effect": "drop_after"}),
        ("outage", {"status": 200, "body": "html"}),
        ("outage of the gateway", {"status": 404, "body": "html"}),
        ("rate limit", {"status": 429, "retry_after": "drawn"}),
    ]
    kind, effect = rng.choice(outages)
    duration = rng.choice(
        [rng.uniform(1, 300), rng.uniform(1, 600), rng.uniform(600, 1800), rng.uniform(1800, 7200)]
    )
    rule = {"path": "/fine-tune/**", "count": None, **_drawn(rng, effect)}
    return Rule(kind, rule, (rng.choice([0.0, rng.uniform(0, 3000), rng.uniform(0, 3000)]), duration))


_MISHAPS: list[tuple[str, dict[str, Any]]] = [
    ("server error", {"status": 500}),
    ("server error", {"status": 503, "body": "html"}),
    ("server error", {"status": 502, "body": "empty"}),
    ("server error", {"status": 504, "body": "detail"}),
    ("request timeout", {"status": 408}),
    ("rate limit", {"status": 429}),
    ("rate limit", {"status": 429, "retry_after": "drawn", "body": "old_error"}),
    ("dropped before the effect", {"effect": "drop_before"}),
    ("dropped after the effect", {"effect": "drop_after"}),
    ("dropped after the effect", {"effect": "drop_after"}),
    ("cut response", {"effect": "drop_midway"}),
    ("cut response", {"effect": "truncate"}),
    ("garbage", {"status": 200, "body": "html"}),
    ("garbage", {"status": 200, "body": "empty"}),
    ("garbage", {"status": 200, "body": "json", "content": []}),
    ("garbage", {"status": 200, "body": "json", "content": {"id": None, "status": None}}),
    ("garbage", {"effect": "merge", "content": {"status": None}}),
    ("garbage", {"effect": "merge", "content": {"id": 7}}),
    ("odd times", {"effect": "merge", "content": {"created_at": "soon", "updated_at": None}}),
    ("odd times", {"effect": "merge", "content": {"created_at": "2999-01-01T00:00:00Z"}}),
    ("unlisted status", {"effect": "merge", "content": {"status": "DEFROSTING"}}),
    ("gateway's 404", {"status": 404, "body": "html"}),
    ("gateway's 404", {"status": 404, "body": "empty"}),
    ("stale 404", {"status": 404}),
    ("refused key", {"status": 401}),
    ("refused key", {"status": 403}),
    ("refused request", {"status": 400}),
    ("spurious conflict", {"status": 409}),
]


def _drawn(rng: Random, effect: dict[str, Any]) -> dict[str, Any]:
    if effect.get("retry_after") == "drawn":
        return {**effect, "retry_after": rng.choice([0, 1, 30, 300, 7200])}
    return effect


def _user_action(rng: Random) -> UserAction:
    return UserAction(
        action=rng.choice(["mark failed", "mark failed", "mark success", "clear", "clear", "clear"]),
        lingers=rng.random() < 0.5,
        lateness=rng.choice([0, 0, 1, 2, 3, 5, 8]),
    )


def _downtime(rng: Random) -> float:
    return rng.choice([0.0, rng.uniform(1, 120), rng.uniform(120, 1800), rng.uniform(1800, 14_000)])
