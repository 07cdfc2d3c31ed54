"""Human judgements: what is kept, who gets which task, what comes out. Imports no torch.

store = Store("runs/ratings.sqlite3")  # or any database's URL
you = store.reader()
pair = {"kind": "pair", "prompt": p, "completions": [{"text": a}, {"text": b}]}
store.add_tasks("my round", [pair])
task = store.next_task(you, "my round")  # blind: store.reveal tells who wrote what
store.answer(you, task["task"], "pair", {"choice": "left", "strength": 1}, new_id())
"""

from rlhf_lessons.feedback.payloads import CRITERIA, Refused, near_identical, new_id
from rlhf_lessons.feedback.store import Store

__all__ = ["CRITERIA", "Refused", "Store", "near_identical", "new_id"]
