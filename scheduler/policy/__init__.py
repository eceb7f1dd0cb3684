"""PURE: state, facts and ``now`` go in, decisions come out; nothing here waits, reads a clock or throws dice.

``facts`` what it is told · ``decisions`` what it answers · ``rules`` what the operator allows (``configured``: the shape of
the configuration) · ``board`` the one door: applies facts, decides, explains · ``jobs`` what is known of a job ·
``intake`` what is refused at once · ``queues`` orders of jobs · ``turns`` who is next at a limit domain (``fairness``:
shares of lanes and projects) · ``domains`` what a provider meters (``buckets``, ``pools``) · ``breakers`` who is left alone ·
``estimates`` what a job will cost · ``failover`` what a failure leads to (``retry_budget``) · ``routes`` which deployment
first, one strategy a file · ``explain`` why a job waits.
"""
