"""What if: traffic that was, or that is made up, through boards of other rules, in simulated time (pure).

``traffic`` makes arrivals of the ledger's facts, ``places`` learns from them how deployments answer, ``replay`` drives
one board through a day of it, ``figures`` adds up what came of it, ``sides`` puts two of them beside one another.
"""
