"""`trainer models`: what each method reaches on public data, in grouped cross-validation, beside what was promised.

A line of the table is a `TableRow` (see `rows.py`, where new ones are added).
"""
