"""Section 4 and Figure 4 of the paper: quantities that say how well its theory fits a model and its labeled set."""
