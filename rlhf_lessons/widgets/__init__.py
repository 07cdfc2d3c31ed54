"""What the reader sees and clicks, in plain ipywidgets: a prompt box, a card for rating pairs, pictures and tables."""
from rlhf_lessons.widgets.ask import AskBox
from rlhf_lessons.widgets.pairs import PairRater, make_pairs
from rlhf_lessons.widgets.show import Picture, answers_table, table

__all__ = ["AskBox", "PairRater", "Picture", "answers_table", "make_pairs", "table"]
