"""Many votes, one commit: a disk makes a few hundred a second, and a class votes all at once.

What arrives within a moment, or while one transaction is being written, goes into the next one
together, votes first: somebody watches a phone that says "Saving …".
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rlhf_lessons.feedback import Refused, Store

GATHER = 0.02  # seconds for which a transaction waits for more to come
MOST = 32  # urgent actions in one transaction, and as many others


class Batches:
    """Runs actions on a store, urgent ones first, else in their order, in one thread of its own."""

    def __init__(self, store: Store):
        self.store = store
        self.urgent, self.waiting = [], []
        self.busy = False
        self.thread = ThreadPoolExecutor(1, "votes")

    def do(self, action: Callable[[], object], urgent: bool = False) -> asyncio.Future:
        """Return the future of what `action` returns or raises: done once it is safe on the disk.

        `Refused` by one action leaves the others of its transaction alone.
        """
        future = asyncio.get_running_loop().create_future()
        (self.urgent if urgent else self.waiting).append((action, future))
        if not self.busy:
            self.busy = True
            self.writer = asyncio.create_task(self._write())
        return future

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self.urgent or self.waiting:
            await asyncio.sleep(GATHER)
            for future, result in await loop.run_in_executor(self.thread, self._commit):
                if future.done():  # whoever asked is gone; what was asked for is done all the same
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self.busy = False

    def _commit(self) -> list[tuple]:
        """Run all waiting actions in one transaction, once it is this process's turn to write; if
        that fails, run each in a transaction of its own.

        Return the future of each, and what it returned or raised.
        """
        batch = []
        try:
            with self.store.write():
                batch = self._take()
                return [(future, outcome(action)) for action, future in batch]
        except Exception:
            batch = batch or self._take()
            return [(future, self._alone(action)) for action, future in batch]

    def _take(self) -> list[tuple]:
        """Take the next batch from the queues, to which others may be adding meanwhile."""
        batch = []
        for queue in (self.urgent, self.waiting):
            taken = queue[:MOST]
            del queue[: len(taken)]
            batch += taken
        return batch

    def _alone(self, action: Callable) -> object:
        """Return what an action returns or raises in a transaction of its own."""
        try:
            with self.store.write():
                return outcome(action)
        except Exception as error:
            return error


def outcome(action: Callable) -> object:
    """Return what an action returns, or its refusal: the store refuses before it writes."""
    try:
        return action()
    except Refused as error:
        return error
