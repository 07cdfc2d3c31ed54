"""Many votes, one commit: a disk makes a few hundred commits a second, and a class votes all at once.

While one transaction is being written, what arrives meanwhile waits, and goes into the next one together: votes first,
for somebody watches a phone that says "Saving …"; the search for next tasks takes longer, and can wait.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rlhf_lessons.feedback import Refused, Store

MOST, FEW = (
    64,
    8,
)  # urgent and other actions in one transaction: what is urgent must not wait long for the others


class Batches:
    """Runs actions on a store, urgent ones first, else in the order in which they come, in one thread of its own."""

    def __init__(self, store: Store):
        self.store, self.urgent, self.waiting, self.busy = store, [], [], False
        self.thread = ThreadPoolExecutor(1, "votes")

    async def do(self, action: Callable[[], object], urgent: bool = False) -> object:
        """Return what `action` returns once that is safe on the disk; raise what it raises.

        `Refused` by one action leaves the others of its transaction alone.
        """
        future = asyncio.get_running_loop().create_future()
        (self.urgent if urgent else self.waiting).append((action, future))
        if not self.busy:
            self.busy = True
            self.writer = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while queue := self.urgent or self.waiting:
            most = MOST if queue is self.urgent else FEW
            batch = queue[:most]
            del queue[:most]
            results = await loop.run_in_executor(
                self.thread, self._commit, [action for action, _ in batch]
            )
            for (_, future), (result, error) in zip(batch, results, strict=True):
                if future.done():  # whoever asked is gone; what was asked for is done all the same
                    continue
                future.set_exception(error) if error else future.set_result(result)
        self.busy = False

    def _commit(self, actions: list[Callable]) -> list[tuple[object, Exception | None]]:
        """Run the actions in one transaction; where that fails, each in its own, so that one cannot spoil all."""
        results = []
        try:
            with self.store.write():
                for action in actions:
                    try:
                        results.append((action(), None))
                    except Refused as error:  # the store refuses before it writes
                        results.append((None, error))
            return results
        except Exception as error:
            return (
                [(None, error)]
                if len(actions) == 1
                else [self._commit([action])[0] for action in actions]
            )
