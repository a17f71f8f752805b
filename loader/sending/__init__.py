"""Sending: the plan's chunks become requests; answers become receipts in the checkpoint."""

from loader.sending.decide import cancel, resend, skip
from loader.sending.deliver import Progress, Target
from loader.sending.reach import Reached, reach
from loader.sending.run import deliver_run

__all__ = ["Progress", "Reached", "Target", "cancel", "deliver_run", "reach", "resend", "skip"]
