"""PURE: state, facts and ``now`` go in, decisions come out; nothing here waits, reads a clock or throws dice.

``facts`` what it is told · ``decisions`` what it answers · ``rules`` what the operator allows (``resolving`` makes them
of a configuration, ``configured`` is its shape) · ``board`` the one door · ``world`` all running state (``tenants``,
``jobs``) · ``arrivals`` how jobs come to it (``intake``: what is refused at once) · ``backlog`` jobs between their
states (``queues`` their orders) · ``rounds`` of dispatching: ``turns`` who is next at a limit domain (``gates``;
``fairness`` shares of lanes and projects), ``grants`` reservations taken and released, ``domains`` what a provider
meters (``buckets``, ``pools``), ``estimates`` what a job will cost · ``admission`` where a job may go at all ·
``routes`` which deployment first, one strategy a file (``planning`` orders by the job: ``prompts``; ``live`` by load:
``speeds``; ``choices`` their records) · ``aftermath`` of an attempt: ``failover`` what a failure leads to
(``retry_budget``), ``breakers`` who is left alone · money: ``payments`` who may go and who waits (``payers``,
``quotas``), ``accounts`` what is reserved and spent (``purses``), ``costs`` at worst, ``shortfalls`` why not,
``planned`` of jobs that are not submitted · ``experiments`` which of two routes does better · ``explain`` why a job
waits, ``listing`` which do (``places`` their order) · ``tally`` numbers for operators.
"""
