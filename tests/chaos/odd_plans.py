"""
Draws what is odd about one life from its seed. Pure.

Each oddity is rare by itself. Some of them change the plan, so that what they are about happens at all.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.chaos.oddities import Away, Hang, Neighbour
from tests.chaos.plan import JOBS, Plan, Rule, UserAction, draw_usual

# What a trigger's arguments should never be.
_FLAWS: list[dict[str, Any]] = [
    {"deadline": "2999-01-01T00:00:00"},
    {"poll_interval": None},
    {"poll_interval": 0},
]
_DEFERRING = ("triggerer", "deferred sensor", "sensor without workers")
# Each with how likely it is.
_LIKELIHOODS = {
    "own ids": 0.04,
    "204": 0.05,
    "clock behind": 0.04,
    "company": 0.05,
    "hanging metrics": 0.02,
    "hanging calls": 0.05,
    "connection away": 0.05,
    "no capacity": 0.04,
    "stranger": 0.04,
    "changed request": 0.03,
    "a new job in each try": 0.05,
    "stopped early": 0.03,
    "slow stop": 0.04,
    "killed after a rotation": 0.03,
    "gateway's refusal": 0.03,
    "tidy up": 0.05,
}


def draw(seed: int) -> Plan:
    """Return the plan of the life with this seed."""
    plan = draw_usual(seed)
    rng = Random(f"{seed} oddities")
    # All are drawn, so that none depends on how likely another is.
    chosen = [kind for kind, likelihood in _LIKELIHOODS.items() if rng.random() < likelihood]
    for kind in chosen:
        plan = _ADD[kind](plan, Random(f"{plan.seed} {kind}"))
    return plan


def _odd(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, odd=replace(plan.odd, **changes))


def _own_ids(plan: Plan, rng: Random) -> Plan:
    retries = max(plan.retries, rng.choice([2, 3]))
    return _odd(replace(plan, retries=retries, own_job_id=None), makes_own_ids=True)


def _answers_204(plan: Plan, rng: Random) -> Plan:
    return _odd(plan, answers_204=True, tidies_up=rng.random() < 0.5)


def _clock_behind(plan: Plan, rng: Random) -> Plan:
    operator = {**plan.operator, "timeout": rng.uniform(300, 3000)}
    return _odd(replace(plan, operator=operator), clock_behind=rng.uniform(120, 3600))


def _company(plan: Plan, rng: Random) -> Plan:
    """Let others wait in the same triggerer, so that the jobs are listed."""
    number = rng.choice([1, 3, 8, 16])
    together = rng.uniform(60, 2000) if rng.random() < 0.5 else None
    neighbours = [
        Neighbour(
            running=together or rng.uniform(60, 2500),
            outcome=rng.choice(["COMPLETED", "COMPLETED", "FAILED"]),
            arguments={"poll_interval": rng.uniform(120, 400)},
        )
        for _ in range(number)
    ]
    if rng.random() < 0.5:
        flaw = rng.choice(_FLAWS)
        # Without a pause between polls, a long life would be nothing but requests.
        running = rng.uniform(60, 2500) if flaw.get("poll_interval", 1) else rng.uniform(30, 150)
        neighbours.append(Neighbour(running, "COMPLETED", {"poll_interval": 60.0, **flaw}))
    if rng.random() < 0.6:
        plan = replace(plan, rules=[], tampers_with_created_at=False)
    return _odd(
        _polling_seldom(plan, rng),
        neighbours=tuple(neighbours),
        longest_page=rng.choice([None, 3, 5]),
        ignores_offset=rng.random() < 0.25,
    )


def _polling_seldom(plan: Plan, rng: Random) -> Plan:
    """Let a task wait in the triggerer. Long intervals keep the number of requests small."""
    interval = rng.uniform(120, 400)
    return replace(
        plan,
        shape=rng.choice(_DEFERRING),
        operator={**plan.operator, "poll_interval": interval},
        sensor={**plan.sensor, "poke_interval": interval},
    )


def _hanging_metrics(plan: Plan, rng: Random) -> Plan:
    hang = Hang("metrics", (rng.choice([0.0, rng.uniform(0, 2000)]), rng.uniform(600, 8000)), 3600.0)
    if not plan.odd.neighbours:
        together = rng.uniform(60, 3000)
        arguments = {"poll_interval": rng.uniform(120, 400)}
        crowd = tuple(Neighbour(together, "COMPLETED", arguments) for _ in range(rng.choice([12, 24, 40])))
        plan = _odd(_polling_seldom(plan, rng), neighbours=crowd)
    return _odd(plan, hangs=(*plan.odd.hangs, hang))


def _hanging_calls(plan: Plan, rng: Random) -> Plan:
    start = rng.uniform(0, 3000)
    seconds = rng.choice([rng.uniform(5, 50), 3600.0])
    if rng.random() < 0.6:
        # They hang while the time of a try that waits on its worker runs out.
        limit = rng.uniform(120, 3000)
        plan = replace(
            plan,
            shape="worker",
            execution_timeout=limit,
            job_life={**plan.job_life, "running": limit + rng.uniform(0, 3600)},
            operator={**plan.operator, "timeout": None},
        )
        start = max(0.0, limit - rng.uniform(0, 120))
    return _odd(plan, hangs=(*plan.odd.hangs, Hang("status", (start, rng.uniform(60, 400)), seconds)))


def _connection_away(plan: Plan, rng: Random) -> Plan:
    def away() -> Away:
        start = rng.choice([0.0, rng.uniform(0, 600), rng.uniform(0, 3000)])
        duration = rng.choice([rng.uniform(1, 300), rng.uniform(60, 1500), rng.uniform(1800, 5000)])
        return Away(rng.choice(["API server", "secrets backend"]), (start, duration))

    plan = replace(plan, retries=max(plan.retries, rng.choice([2, 3])))
    if rng.random() < 0.5:
        plan = replace(plan, triggerer_restarts=[*plan.triggerer_restarts, (rng.uniform(0, 2000), 30.0)])
    return _odd(plan, away=tuple(away() for _ in range(rng.choice([1, 1, 2]))))


def _no_capacity(plan: Plan, rng: Random) -> Plan:
    timeout = rng.uniform(300, 4000)
    return _odd(
        replace(
            plan,
            shape=rng.choice(_DEFERRING),
            operator={**plan.operator, "timeout": timeout},
            sensor={**plan.sensor, "timeout": max(timeout, 600.0)},
            job_life={**plan.job_life, "running": timeout * rng.uniform(0.1, 2.0)},
        ),
        waits_for_triggerer=rng.choice([rng.uniform(10, 1200), timeout + rng.uniform(310, 3000)]),
        away_after_timeout=rng.choice([0.0, 0.0, rng.uniform(10, 4000)]),
    )


def _stranger(plan: Plan, rng: Random) -> Plan:
    plan = replace(plan, own_job_id=f"own-{plan.seed}", outcomes=[])
    if rng.random() < 0.5:
        return _odd(plan, stranger="other name", makes_own_ids=False)
    plan = replace(plan, clears_after_the_end=max(plan.clears_after_the_end, 1))
    return _odd(plan, stranger="same name", changes_request=True, makes_own_ids=False)


def _changed_request(plan: Plan, rng: Random) -> Plan:
    plan = replace(plan, clears_after_the_end=max(plan.clears_after_the_end, 1))
    return _odd(plan, changes_request=True)


def _new_job_in_each_try(plan: Plan, rng: Random) -> Plan:
    operator = {**plan.operator, "reattach": False}
    plan = _odd(plan, stranger=None, changes_request=False)
    return replace(plan, operator=operator, own_job_id=None, retries=max(plan.retries, rng.choice([2, 3])))


def _stopped_early(plan: Plan, rng: Random) -> Plan:
    stopped = {"status": "STOPPED", "at": rng.choice([0, "STARTING", "RUNNING"])}
    return replace(
        plan,
        operator={**plan.operator, "accept_stopped": True},
        sensor={**plan.sensor, "accept_stopped": True},
        outcomes=[stopped, *plan.outcomes],
    )


def _slow_stop(plan: Plan, rng: Random) -> Plan:
    """Let a job take long to stop, so that the next try finds it stopping."""
    stopped = {"status": "STOPPED", "at": rng.uniform(0, 300)}
    return replace(
        plan,
        operator={**plan.operator, "kill_action": "stop"},
        job_life={**plan.job_life, "stopping": rng.uniform(300, 3000)},
        outcomes=[stopped, *plan.outcomes] if rng.random() < 0.7 else plan.outcomes,
        retries=max(plan.retries, 2),
    )


def _killed_after_a_rotation(plan: Plan, rng: Random) -> Plan:
    moment = rng.uniform(0, 1500)
    act = UserAction(rng.choice(["mark failed", "mark success"]), lingers=rng.random() < 0.5, lateness=0)
    return replace(
        plan,
        key_rotation=(moment, rng.choice([0.0, rng.uniform(1, 60)])),
        user_actions=[*plan.user_actions, (moment + rng.uniform(0, 90), act)],
    )


def _gateways_refusal(plan: Plan, rng: Random) -> Plan:
    rule = {
        "method": "GET",
        "path": f"{JOBS}/*",
        "status": rng.choice([401, 403]),
        "body": "html",
        "skip": rng.randint(0, 8),
        "count": rng.randint(2, 5),
    }
    return replace(plan, rules=[Rule("gateway's refusal", rule), *plan.rules])


def _tidy_up(plan: Plan, rng: Random) -> Plan:
    return _odd(plan, tidies_up=True)


_ADD = {
    "own ids": _own_ids,
    "204": _answers_204,
    "clock behind": _clock_behind,
    "company": _company,
    "hanging metrics": _hanging_metrics,
    "hanging calls": _hanging_calls,
    "connection away": _connection_away,
    "no capacity": _no_capacity,
    "stranger": _stranger,
    "changed request": _changed_request,
    "a new job in each try": _new_job_in_each_try,
    "stopped early": _stopped_early,
    "slow stop": _slow_stop,
    "killed after a rotation": _killed_after_a_rotation,
    "gateway's refusal": _gateways_refusal,
    "tidy up": _tidy_up,
}
