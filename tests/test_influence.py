"""By how much a vote moves a reward: each refit against one from scratch, and the votes for which
that is hardest.
"""

import random
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_models import sentence

from rlhf_lessons.feedback.influence import anonymous, influences, weights_without_each
from rlhf_lessons.feedback.personal import CREDIT, RIDGE, PersonalReward, Vote
from rlhf_lessons.lm.models import to_reward_model

PROMPT = "Write about a castle"
ANSWERS = [PROMPT] * 2, ["anna found a dragon", "the castle with friends"], [True, False]


def vote(left: str, right: str, chance: float, **more) -> Vote:
    return Vote(PROMPT, (left, right), (True, True), chance, **more)


def mixed(n: int) -> Counter:
    """Votes of all kinds, some of which several raters cast."""
    rng = random.Random(n)
    votes = Counter()
    for _ in range(n):
        chance = rng.choice((0.98, 0.65, 0.5))
        one = vote(sentence(rng), sentence(rng), chance, weight=rng.choice((1.0, 0.5)))
        votes[anonymous(one)] = rng.choice((1, 1, 2, 5))
    return votes


def torn() -> Counter:
    """Forty raters of one mind, three against them, and ties on the same answers."""
    texts = "anna found a dragon", "anna found a castle"
    clear = anonymous(vote(*texts, 0.98))
    against = anonymous(vote(*texts[::-1], 0.98))
    longer = anonymous(vote("a dragon with " + texts[0], texts[1], 0.98))
    return Counter({clear: 40, against: 3, anonymous(vote(*texts, 0.5)): 2, longer: 1})


CASES = {
    "one vote": Counter([anonymous(vote("a dragon", "a castle", 0.98))]),
    "one tie": Counter([anonymous(vote("a dragon", "a castle", 0.5))]),
    "mixed": mixed(16),
    "torn": torn(),
    "all ties": Counter(replace(vote, left=0.5) for vote in mixed(8)),
}


@pytest.fixture
def untrained(llama, tokenizer):
    texts = ["anna walked", "the dragon found a castle", "friends with a princess", "a castle"]
    return PersonalReward(to_reward_model(llama), tokenizer, ([PROMPT] * 4, texts, [True] * 4))


def fitted_to(untrained: PersonalReward, votes: Counter) -> PersonalReward:
    return untrained.fit([*votes.elements()])


@pytest.fixture(params=CASES)
def votes(request):
    return CASES[request.param]


def test_each_refit_is_a_fit_from_scratch_without_the_vote(untrained, votes):
    """`fit` itself stops within about 2e-5 of the best weights."""
    found = weights_without_each(fitted_to(untrained, votes), votes)
    for one, weights in zip(votes, found, strict=True):
        scratch = fitted_to(untrained, votes - Counter([one]))
        assert torch.allclose(weights.float(), scratch.weights, atol=1e-4)


def test_at_each_refit_the_loss_has_no_slope_left(untrained, votes):
    """A slope of s leaves a strictly convex loss within s / RIDGE of its least: here 1e-5."""
    fitted = fitted_to(untrained, votes)
    for one, weights in zip(votes, weights_without_each(fitted, votes), strict=True):
        rest = [*(votes - Counter([one])).elements()]
        lead, seen = fitted.leads(rest)
        target, weight = torch.tensor([(v.left, v.weight) for v in rest]).reshape(-1, 2).double().T
        weights.requires_grad_()
        logits = seen.double() @ weights + CREDIT * lead
        loss = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
        (loss + RIDGE / 2 * weights @ weights).backward()
        assert weights.grad.norm() < 1e-5 * RIDGE


def test_what_a_vote_moves_is_what_a_fit_without_it_changes(untrained):
    votes = CASES["mixed"]
    fitted = fitted_to(untrained, votes)
    for place, moves in enumerate(influences(fitted, votes, *ANSWERS)):
        assert Counter(one for one, _ in moves) == Counter([*votes])
        sizes = [abs(change) for _, change in moves]
        assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0.01
        for one, change in moves[:3]:
            scratch = fitted_to(untrained, votes - Counter([one]))
            scratch.mean, scratch.deviation = fitted.mean, fitted.deviation
            expected = (scratch(*ANSWERS) - fitted(*ANSWERS))[place].item()
            assert change == pytest.approx(expected, abs=1e-3)


def test_without_the_only_vote_the_shipped_reward_model_is_left(untrained):
    votes = CASES["one vote"]
    assert not weights_without_each(fitted_to(untrained, votes), votes).any()


def test_a_vote_for_a_word_raised_the_answer_that_has_it(untrained):
    votes = CASES["one vote"]
    dragon, castle = influences(fitted_to(untrained, votes), votes, *ANSWERS)
    assert dragon[0][1] < -0.1 and castle[0][1] > 0.1  # without it, the dragon's answer falls


def test_of_many_equal_votes_one_counts_for_little(untrained):
    one = anonymous(vote("a dragon", "a castle", 0.98))
    alone, among = (
        influences(fitted_to(untrained, votes), votes, *ANSWERS)[0][0][1]
        for votes in (Counter([one]), Counter({one: 20}))
    )
    assert abs(among) < 0.1 * abs(alone)


def test_votes_that_say_the_same_are_equal_and_nameless_whoever_cast_them():
    left = vote("a dragon", "a castle", 0.98, rater="Ada")
    right = Vote(PROMPT, ("a castle", "a dragon"), (True, True), 1 - 0.98, "Ben")
    assert anonymous(left) == anonymous(right) == replace(left, rater="")
    tie = vote("a dragon", "a castle", 0.5, rater="Ada")
    swapped = vote("a castle", "a dragon", 0.5, rater="Ben")
    assert anonymous(tie) == anonymous(swapped)
    assert anonymous(left) != anonymous(replace(left, left=0.65))
    cut = Vote(PROMPT, ("a castle", "a dragon"), (False, True), 0.02)
    assert anonymous(cut).texts[0] == "a dragon" and anonymous(cut).ended == (True, False)


def test_two_hundred_refits_take_no_longer_than_a_few_fits(untrained):
    """Together they take about as long as one; one after the other, they would take 200."""
    votes = mixed(200)
    untrained.leads([*votes])  # so that the shipped reward model has scored all texts
    start = time.process_time()
    fitted = fitted_to(untrained, votes)
    one_fit = time.process_time() - start
    weights_without_each(fitted, votes)
    assert time.process_time() - start < 6 * one_fit
