"""Label Studio, all the way: batches pushed to a server, answers pulled from it."""
