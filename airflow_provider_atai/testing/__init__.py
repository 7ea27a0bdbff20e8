"""For tests of DAGs that use the provider: the pytest fixture ``run_dag``."""
