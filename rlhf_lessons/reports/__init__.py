"""A learner's report, and a class's: what somebody did in the course and could copy from nobody.

    rl.report("Ada")                                          # writes runs/report/report.html and report.pdf
    python -m rlhf_lessons reports FOLDER --out class.csv     # a row for each report in a folder

`mine.py` gathers what there is, `page.py` shows it on one page, `gather.py` reads the pages of a class. `rubric.md`,
in the folder `teaching`, says what to look for.
"""
