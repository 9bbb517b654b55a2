"""Models: what they are, how they start, how they grow, and how they are kept on disk."""
