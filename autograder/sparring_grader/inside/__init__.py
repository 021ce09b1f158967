"""The only code of the grader that runs behind the wall, in the learner's own process.

Nothing here is trusted: a submission may replace any of it. It holds no expected value, no mark and no
secret, and whatever it sends is data that the grader's side caps, parses and judges.
"""
