"""Ratio benchmarks: ``make bench`` runs all of them and stores what they measured.

Nothing here decides a test. A result is a ratio within one run, with its spread, and
names the machine, the versions and the date.
"""
