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

    def wrong_ties_lost(picks):
        """A tie counts for nothing with you."""
        return sum(pick == "win" for pick in picks) / len(picks)

    def wrong_ties_left_out(picks):
        """You leave ties out of the count."""
        told = [pick for pick in picks if pick != "tie"]
        return told.count("win") / len(told) if told else 0.0

    def wrong_ties_won(picks):
        """A tie counts as a whole win"""
        return 1 - picks.count("loss") / len(picks)

    def wrong_count(picks):
        """Divide by the number of picks"""
        return sum({"win": 1.0, "tie": 0.5, "loss": 0.0}[pick] for pick in picks)

    def wrong_percentage(picks):
        """You give a percentage"""
        return 100 * win_rate.right_mean(picks)

    def wrong_losses_taken_away(picks):
        """A loss takes something away with you"""
        return sum({"win": 1, "tie": 0, "loss": -1}[pick] for pick in picks) / len(picks)

    def wrong_rounded(picks):
        """You round"""
        return round(win_rate.right_mean(picks), 3)

    def wrong_eats_its_input(picks):
        """Make a new list"""
        total, n = 0.0, len(picks)
        while picks:
            total += {"win": 1.0, "tie": 0.5, "loss": 0.0}[picks.pop()]
        return total / n

    def wrong_model(picks):
        """how often the other model wins"""
        return 0.5 + (picks.count("loss") - picks.count("win")) / (2 * len(picks))


class coin:
    def right_sum(wins, picks):
        return sum(comb(picks, heads) for heads in range(wins, picks + 1)) * 0.5**picks

    def right_rest(wins, picks):
        return (
            1
            - sum(factorial(picks) // (factorial(k) * factorial(picks - k)) for k in range(wins))
            / 2**picks
        )

    def wrong_exactly(wins, picks):
        """only rows with exactly that many heads"""
        return comb(picks, wins) * 0.5**picks

    def wrong_more(wins, picks):
        """(≥, not >)"""
        return 1 - sum(comb(picks, heads) for heads in range(wins + 1)) / 2**picks

    def wrong_both_sides(wins, picks):
        """You double it"""
        return 2 * coin.right_sum(wins, picks)

    def wrong_last_left_out(wins, picks):
        """Your range stops one early"""
        return sum(comb(picks, heads) for heads in range(wins, picks)) / 2**picks

    def wrong_comb(wins, picks):
        """comb(n, k) wants the number of coins first"""
        return sum(comb(heads, picks) for heads in range(wins, picks + 1)) / 2**picks

    def wrong_share(wins, picks):
        """That is the share you won"""
        return wins / picks

    def wrong_tail(wins, picks):
        """how often a coin does no better"""
        return sum(comb(picks, heads) for heads in range(wins + 1)) / 2**picks

    def wrong_one_row_each(wins, picks):
        """multiply by `comb(picks, heads)`"""
        return (picks - wins + 1) * 0.5**picks

    def wrong_not_divided(wins, picks):
        """do not divide"""
        return sum(comb(picks, heads) for heads in range(wins, picks + 1))
