"""Parts that methods share: frozen, stateless, exchangeable."""
