#!/usr/bin/env python3
"""
Make the two small dataset files of the examples: windows of a pump's sensor log, labelled with its state.

    python make_sensor_logs.py            # writes pump_train.jsonl and pump_eval.jsonl beside this file

The same seed gives the same bytes. Each line is one labelled example, in the only form that is known
from a public program which writes it: an object of type ``data.example`` whose ``event_data`` is a JSON
*string*, in which ``lens_parameters`` holds the instruction, the inputs and the outputs. Archetype AI's
labeling guide puts ``inputs`` and ``outputs`` beside ``lens_parameters`` instead. If the service refuses
these files, the place to change is :func:`labelled_example`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTRUCTION = "Name the state of the pump: normal, cavitation, bearing_wear or clogged_inlet."
ROWS_PER_WINDOW = 4

# Per state: mean and standard deviation of vibration (mm/s RMS), discharge pressure (bar), flow (m3/h) and
# bearing temperature (degrees Celsius).
STATES = {
    "normal": ((1.4, 0.2), (6.2, 0.1), (42.0, 0.6), (48.0, 0.8)),
    "cavitation": ((6.8, 1.1), (4.9, 0.6), (35.0, 2.5), (50.0, 0.9)),
    "bearing_wear": ((4.6, 0.5), (6.1, 0.1), (41.5, 0.6), (71.0, 2.0)),
    "clogged_inlet": ((2.1, 0.3), (3.1, 0.3), (17.0, 1.5), (55.0, 1.2)),
}


def sensor_window(state: str, rng: random.Random) -> str:
    """Return a few seconds of sensor log as CSV text."""
    rows = ["second,vibration,pressure,flow,bearing_temperature"]
    for second in range(ROWS_PER_WINDOW):
        readings = [f"{max(0.0, rng.gauss(mean, deviation)):.2f}" for mean, deviation in STATES[state]]
        rows.append(",".join([str(second), *readings]))
    return "\n".join(rows)


def labelled_example(window: str, state: str) -> str:
    """Return one line of a dataset file."""
    example = {
        "lens_parameters": {
            "instruction": INSTRUCTION,
            "inputs": [{"type": "data.text", "event_data": {"contents": window}}],
            "outputs": [{"type": "data.text", "event_data": {"contents": state}}],
        }
    }
    return json.dumps({"type": "data.example", "event_data": json.dumps(example)})


def dataset(examples: int, seed: int) -> str:
    """Return a dataset file with all states in equal shares, in random order."""
    rng = random.Random(seed)
    states = [list(STATES)[index % len(STATES)] for index in range(examples)]
    rng.shuffle(states)
    return "".join(labelled_example(sensor_window(state, rng), state) + "\n" for state in states)


def main() -> None:
    """Write both files."""
    for name, examples, seed in (("pump_train.jsonl", 160, 1), ("pump_eval.jsonl", 40, 2)):
        path = HERE / name
        path.write_text(dataset(examples, seed), encoding="utf-8", newline="\n")
        print(f"{path}: {examples} examples, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
