"""The offline model: no weights, no network; it answers by analogy with the demos in its prompt."""
