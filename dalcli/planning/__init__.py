"""What the next labels buy, and when to stop: measured points → forecast → decision → verdict. First: ``run.py``."""
