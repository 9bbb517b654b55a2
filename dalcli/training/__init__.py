"""Training to convergence: interruptible at any point, reproducible bit for bit on a processor."""
