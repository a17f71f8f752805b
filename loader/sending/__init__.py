"""Sending: the plan's chunks become requests; answers become receipts in the checkpoint."""

from loader.sending.decide import cancel, resend, skip
from loader.sending.deliver import Progress, Target
from loader.sending.reachable import Reached, reach
from loader.sending.run import deliver_run, prepare
from loader.sending.webhook import post

__all__ = ["Progress", "Reached", "Target", "cancel", "deliver_run", "post", "prepare", "reach", "resend", "skip"]
