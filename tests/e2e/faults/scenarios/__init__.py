"""Everything that can go wrong at a provider, from a client's side: ``rows`` says what must come of each."""
