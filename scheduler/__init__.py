"""Who runs what, where and when: one fenced leader per shard decides from an index in memory what each pool does next.

``service`` waits for the lease and leads again and again · ``leadership`` the lease and its fence · ``silence`` when a
leader may be succeeded · ``standby`` reads along while another one leads · ``leading`` one period of it · ``term`` what
its rooms share · ``intake`` submissions become facts · ``submissions`` and ``entries`` those that are known ·
``overflow`` those left in their stream, ``refilling`` reads them in · ``bodies`` job bodies at hand · ``dispatcher``
decisions become fenced batches · ``assignments`` what a worker is sent · ``endings`` the terminal records the leader
writes · ``settling`` results become facts, finished submissions go · ``outcomes`` failed attempts and cancels become
facts · ``lifeline`` heartbeats, aborts · ``losses`` lost attempts become outcomes · ``costs`` what the leader tells the
ledger · ``spending`` what LEDGER says was spent, and its sums · ``headroom`` room in WORK · ``mishaps`` what a bug of
ours leads to · ``recovery`` the state at the start of a term · ``reconciler`` and ``readings`` what a lost message
left, and what was passed over · ``desk`` producers' questions · ``letters`` dead letters kept, ``letter_desk`` asked
about, ``dead_desk`` by operators, ``letter_index`` what is remembered of them for that, ``replaying`` acted on ·
``orders`` what operators order, ``operator_desk`` takes and tells it, ``finding_desk`` looks for jobs (``statuses`` how
one stands) · ``scaling`` how many workers each pool should have · ``tracing`` what is told of traced jobs ·
``background`` small errands · ``census`` and ``storage`` what is counted, ``switches`` who went on elsewhere,
``instruments`` what is measured of it · ``policy`` PURE: all decisions.
"""
