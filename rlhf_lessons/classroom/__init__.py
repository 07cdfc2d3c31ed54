"""The class page: a class rates from its phones, on one small server and without torch.

    python -m rlhf_lessons classroom serve              # or `check`, before class, with one phone

`serve.py` starts it, `server.py` answers the browsers, `room.py` is the state of the class,
`batches.py` puts many votes into one commit, `rounds.py` finds something to rate, `screens.py` says
what the projector and the console show. `ladder.py`, a command beside it, needs torch. `pages/` is
what browsers get; the card itself is the notebook's, `widgets/card.js`.
"""
