"""Apache Airflow provider for Archetype AI's fine-tuning service (Newton models)."""

__version__ = "0.1.0"
