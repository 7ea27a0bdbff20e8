"""The demo: the retraining DAG on real Airflow processes, against the emulator."""
