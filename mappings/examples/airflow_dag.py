"""A load every night with Airflow 3. A load that was stopped goes on where it was, so that it may be tried again."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG(
    "orders_to_bloomreach",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
) as dag:
    BashOperator(
        task_id="load",
        cwd="/srv/loader",
        # 3: finished, with rejections.
        bash_command=".venv/bin/loader run mappings/orders_to_bloomreach.yaml --json || [ $? = 3 ]",
        env={"LOADER_STATE": "/var/lib/loader", "LOADER_LOG": "text"},
        append_env=True,
        retries=2,
        retry_delay=timedelta(minutes=15),
    )
