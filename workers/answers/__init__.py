"""Answers that must be JSON of a schema: checked when the attempt has ended, never given out if they do not validate.

Rooms: ``sieve`` the one JSON value of a text, piece by piece as it comes · ``judging`` a text against a schema, and
what may be repaired · ``bounds`` which schemas are sure to be cheap · these three are pure · ``apart`` judges the
others in a process that can be stopped, whose inside is ``referee`` · ``expected`` what a job's answer must be ·
``screen`` what a listener sees of it meanwhile.
"""
