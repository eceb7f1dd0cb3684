"""Who runs what, where and when: one fenced leader per shard decides, from an index in memory, what each pool does next.

``service`` waits for the lease and runs one ``term`` after another · ``leadership`` the lease and its fence · ``term``
one period of leading, its rooms wired together · ``intake`` submissions become facts · ``bodies`` job bodies at hand ·
``dispatcher`` decisions become fenced batches · ``assignments`` what a worker is sent · ``endings`` terminal records the
leader writes · ``settling`` results become facts, finished submissions are removed · ``outcomes`` failed attempts and
cancels become facts · ``lifeline`` workers' heartbeats, lost attempts, aborts · ``recovery`` the state at the start of
a term · ``reconciler`` what a lost message left · ``desk`` producers' questions · ``policy`` PURE: all decisions.
"""
