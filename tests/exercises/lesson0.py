"""Right and wrong solutions of lesson 0's exercises."""

from math import comb, factorial


class who_wrote:
    def right_list(prompt):
        return ["ppo base sft", "sft ppo base", "base sft ppo"][prompt - 1]

    def right_by_letter(prompt):
        names = {1: ("ppo", "base", "sft"), 2: ("sft", "ppo", "base"), 3: ("base", "sft", "ppo")}
        return " ".join(names[prompt])

    def wrong_in_two_rows(prompt):
        """leaves something out"""
        return {1: "sft base ppo", 2: "ppo sft base", 3: "base sft ppo"}[prompt]

    def wrong_in_two_ways(prompt):
        """leaves something out"""
        return {1: "sft base ppo", 2: "base ppo sft", 3: "base sft ppo"}[prompt]

    def wrong_capitals(prompt):
        """Write the names as the notebook does"""
        return {1: "PPO base SFT", 2: "SFT PPO base", 3: "base SFT PPO"}[prompt]

    def wrong_names(prompt):
        """not right, or misspelled"""
        return "rlhf base sft"


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
