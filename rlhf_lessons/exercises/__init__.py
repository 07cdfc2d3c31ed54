"""Exercises with checks that name the likely mistake, and bugs to break a stage with on purpose."""
