"""All destinations of a run delivered side by side, in one event loop, until they are done, stopped or interrupted."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence
from importlib import import_module
from threading import Thread

import polars as pl

from loader.checkpoint import Checkpoint
from loader.errors import Exit, Interrupted, LoaderError, TooManyRejections
from loader.sending.decide import skip
from loader.sending.deliver import Delivery, Progress, Target
from loader.sending.journal import Journal

OpenPart = Callable[[str, int], pl.DataFrame]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def prepare() -> None:
    """Import what `deliver_run` needs of HTTP, beside other work: for who knows that there is something to send."""
    # Not in the thread: its allocator belongs to the thread that loads it, and without that one the process crashes.
    import_module("pyreqwest.client")
    # No daemon: a process must not end in the middle of an import.
    Thread(target=import_module, args=("loader.sending.http",)).start()


def deliver_run(
    checkpoint: Checkpoint,
    targets: Sequence[Target],
    open_part: OpenPart,
    progress: Progress,
    on_rejected: Callable[[int], None],
    stop_after: int | None = None,
) -> LoaderError | None:
    """Send what is pending of a run to `targets`; what ended it early, or None.

    `open_part`: destination and number of a part → its events (`plan.PART_SCHEMA`). `on_rejected` is told how many
    events were rejected, first of all before anything is sent; it may raise TooManyRejections. SIGINT and SIGTERM let
    what is under way finish, and end in Interrupted; a second one leaves it behind, `sending`.
    """
    try:
        skipping = [target for target in targets if target.in_doubt == "skip"]
        on_rejected(sum(skip(checkpoint, target.run, target.name, open_part) for target in skipping))
    except LoaderError as error:
        return error
    before = {which: signal.getsignal(which) for which in _SIGNALS}
    # What is there stays; looking through it again and again takes an eighth of the time of small requests.
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            return runner.run(_deliver(checkpoint, targets, open_part, progress, on_rejected, stop_after))
    finally:
        gc.unfreeze()
        for which, handler in before.items():
            signal.signal(which, handler)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is to be had; None: asyncio's own loop."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    return new_event_loop


async def _deliver(
    checkpoint: Checkpoint,
    targets: Sequence[Target],
    open_part: OpenPart,
    progress: Progress,
    on_rejected: Callable[[int], None],
    stop_after: int | None,
) -> LoaderError | None:
    deliveries: list[Delivery] = []
    received: list[signal.Signals] = []
    everything = asyncio.current_task()

    def interrupt(which: signal.Signals) -> None:
        received.append(which)
        for delivery in deliveries:
            delivery.halt()
        # A third one must not end the clearing up that the second began.
        if len(received) == 2 and everything is not None:
            everything.cancel()

    def receive(number: int, _frame: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(interrupt, signal.Signals(number))

    # Not the loop's own handlers: while it is closing, a signal would find them half taken apart.
    loop = asyncio.get_running_loop()
    for which in _SIGNALS:
        signal.signal(which, receive)
    # Takes its time to import, which a run without anything to send does not have; see `prepare`.
    from loader.sending.http import HttpClient  # noqa: PLC0415

    journal = Journal(checkpoint)

    async def one(target: Target) -> None:
        address = target.settings.base_url or target.provider.base_url
        async with HttpClient(address, target.concurrency, target.settings.timeout) as client:
            statuses = ["pending", "in_doubt"] if target.in_doubt == "resend" else ["pending"]
            delivery = Delivery(
                target,
                journal,
                client,
                lambda part: open_part(target.name, part),
                checkpoint.part_starts(target.run, target.name, statuses),
                progress,
                on_rejected,
            )
            deliveries.append(delivery)
            if received:
                delivery.halt()
            chunks = checkpoint.pending_chunks(target.run, target.name, statuses)
            refused = {row["row"] for row in checkpoint.refusals_of(target.run, target.name)}
            try:
                await delivery.deliver(chunks, refused, stop_after)
            except TooManyRejections:
                # The limit is one for the run.
                for other in deliveries:
                    other.halt()
                raise

    try:
        endings = await asyncio.gather(*(one(target) for target in targets), return_exceptions=True)
    except asyncio.CancelledError:
        if not received:
            # A signal came before there was a handler for it here, and nothing was sent.
            raise
        endings = []
    finally:
        journal.close()
    for ending in endings:
        if isinstance(ending, BaseException) and not isinstance(ending, LoaderError):
            raise ending
    errors = [ending for ending in endings if isinstance(ending, LoaderError)]
    if received:
        left = "what was under way is in doubt" if len(received) > 1 else "what was under way is finished"
        code = Exit.SIGINT if received[0] is signal.SIGINT else Exit.SIGTERM
        return Interrupted(f"interrupted ({received[0].name}); {left} and saved", code)
    # Wrong credentials need a person, an outage only time: the more urgent error names the exit code.
    return max(errors, key=lambda error: error.exit_code, default=None)
