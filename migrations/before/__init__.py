"""Steps that run before a deployment."""
