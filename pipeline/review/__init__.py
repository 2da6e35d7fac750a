"""What a reviewer asks for: do the numbers follow from the scores, does a rerun agree, where does a number come from.

Nothing here trains or needs torch: the packages of requirements-verify.txt are enough.
"""
