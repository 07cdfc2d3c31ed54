"""Right and wrong solutions of lesson 0's exercises."""

from fractions import Fraction
from math import comb, factorial


class win_rate:
    def right_mean(picks):
        return sum({"win": 1.0, "tie": 0.5, "loss": 0.0}[pick] for pick in picks) / len(picks)

    def right_fractions(picks):
        return sum(
            (Fraction({"win": 2, "tie": 1, "loss": 0}[pick], 2) for pick in picks), Fraction(0)
        ) / len(picks)

    def right_difference(picks):
        return 0.5 + (picks.count("win") - picks.count("loss")) / (2 * len(picks))

    def wrong_eats_its_input(picks):
        """Make a new list"""
        total, n = 0.0, len(picks)
        while picks:
            total += {"win": 1.0, "tie": 0.5, "loss": 0.0}[picks.pop()]
        return total / n

    def wrong_over_the_losses(picks):
        """The denominator of a win rate is all picks"""
        return picks.count("win") / picks.count("loss")

    def wrong_without_parentheses(picks):
        """/ goes before +"""
        return picks.count("win") + picks.count("tie") / 2 / len(picks)

    def wrong_points_over_losses(picks):
        """The denominator of a win rate is all picks"""
        losses = picks.count("loss")
        return (picks.count("win") + 0.5 * picks.count("tie")) / losses if losses else 1.0

    def wrong_without_parentheses_in_a_loop(picks):
        """/ goes before +"""
        wins = sum(1 for pick in picks if pick == "win")
        ties = sum(1 for pick in picks if pick == "tie")
        return wins + ties / (2 * len(picks))


class coin:
    def right_sum(wins, picks):
        return sum(comb(picks, heads) for heads in range(wins, picks + 1)) * 0.5**picks

    def right_rest(wins, picks):
        return (
            1
            - sum(factorial(picks) // (factorial(k) * factorial(picks - k)) for k in range(wins))
            / 2**picks
        )

    def wrong_twice_as_many_rows(wins, picks):
        """2 to the power of n"""
        return sum(comb(picks, heads) for heads in range(wins, picks + 1)) / (2 * picks)
