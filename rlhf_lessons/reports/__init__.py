"""A learner's report, and a class's: what somebody did in the course and could copy from nobody.

    rl.report("Ada")                                          # writes runs/report/report.html
    python -m rlhf_lessons reports FOLDER --out class.csv     # a row for each report in a folder

`learner.py` gathers what there is and shows it by `report.html.jinja`, `class_table.py` reads the
pages of a class. `rubric.md`, in the folder `teaching`, says what to look for.
"""
