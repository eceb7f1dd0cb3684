"""Steps from one version of the ledger's tables to the next; see README.md. They are read by ``ledger.database``."""
