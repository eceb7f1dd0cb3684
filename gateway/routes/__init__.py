"""One module an API; each says its routes and who may use them."""
