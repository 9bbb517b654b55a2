"""dalcli spends a labeling budget well: deep active learning as discrete, resumable commands."""

__version__ = "0.1.0"
