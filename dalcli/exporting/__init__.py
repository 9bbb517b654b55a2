"""A trained model as a folder that runs without dalcli, each form of it held against dalcli's own probabilities."""
