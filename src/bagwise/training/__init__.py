"""Training many members in one go: schedule, executors, checkpoints.

`train` in `engine.py` is the way in. Read the rest in this order: `members.py` (what is trained), `schedule.py` (in
which order), `gradient.py` (one step's gradient), `looped.py` (an epoch of a block), `engine.py` (all epochs of all
blocks).
"""
