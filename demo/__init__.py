"""Real Airflow processes and the emulator, started for the demo and for the system tests."""
