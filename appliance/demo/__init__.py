"""The tour of a minute: what Penstock promises, shown on simulated providers that fail and limit on command.

``tour`` is the sequence · ``staging`` sets the scene (paces, limits, routes) · ``prompts`` reads the bundled requests ·
``traffic`` submits them and remembers what became of each · ``relay`` is the connection that gets cut · ``stage`` talks
to the simulator's controls · ``verdict`` (pure) holds what happened against what was promised · ``screen`` prints.
"""
