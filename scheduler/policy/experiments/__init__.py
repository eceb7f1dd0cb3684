"""Experiments: two or more routes tried side by side, judged by what came of their jobs. PURE, like all of the policy.

``arms`` which unit is served by which arm, for good · ``moments`` what came of
the jobs, as sums that can be added up in any order · ``sequences`` intervals that hold however often they are looked at
· ``comparing`` one arm beside the other, by metric · ``ramp`` how many units take part, and when an arm is stopped ·
``verdict`` all of that in words. ``book`` all experiments, as a fold of what has ended.
"""
