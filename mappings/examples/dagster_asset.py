"""A load every night as an asset of Dagster, with the numbers of the run as its metadata."""

import json
import subprocess

import dagster as dg

COMMAND = ["/srv/loader/.venv/bin/loader", "run", "/srv/loader/mappings/orders_to_bloomreach.yaml", "--json"]


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=900))
def orders_to_bloomreach() -> dg.MaterializeResult:
    """Events in Bloomreach."""
    done = subprocess.run(COMMAND, stdout=subprocess.PIPE, check=False)  # noqa: S603
    # 3: finished, with rejections. 5: an outage, which passes.
    if done.returncode not in (0, 3):
        raise dg.Failure(f"loader ended with exit {done.returncode}", allow_retries=done.returncode == 5)
    return dg.MaterializeResult(metadata={"run": dg.MetadataValue.json(json.loads(done.stdout))})


defs = dg.Definitions(
    assets=[orders_to_bloomreach],
    schedules=[dg.ScheduleDefinition(name="nightly", target=orders_to_bloomreach, cron_schedule="15 2 * * *")],
)
