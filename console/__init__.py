"""What operators see, in a browser: every number is read from the desks of the other services at that moment.

``assembly`` puts one together · ``app`` the routes · ``guarding`` who may, from where, and what a page may load ·
``people`` who holds a key, ``sessions`` who is logged in, ``turns`` so much at once for each · ``asking`` questions to
the desks · ``filters`` what an address says, and addresses that say it; ``finding`` the same for jobs, ``spending`` for
sums · ``forms`` what a form says of time · ``deployments`` what is known of models, ``effective`` the configuration,
``records`` what has ended, ``timeline`` a job's life as a picture, ``charts`` columns · ``panels`` one file a page:
what is asked for it, who may see it, what may be done there; its template stands in ``templates`` · ``pages`` templates
become pages · ``live`` states of a page pushed to all who look at it · ``flowing`` an answer that comes piece by piece,
for one reader · ``playing`` prompts that are tried, the one room that is a client · ``server`` listens.

It keeps nothing: no database, no cache, no state but who is logged in. It stops without loss, and several may run.
"""
