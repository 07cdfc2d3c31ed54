"""The class page: a whole class rates from its phones, on one small server and without torch.

    python -m rlhf_lessons classroom serve              # or `check`, before class, with one phone

`server.py` answers the browsers, `room.py` knows the class, `batches.py` puts many votes into one commit, `rounds.py`
finds something to rate, `figures.py` computes shares with intervals, `screens.py` says what the projector and the
console show, `commands.py` starts it all. `pages/` is what browsers get; the card itself is the notebook's,
`widgets/card.js`.
"""
