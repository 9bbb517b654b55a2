"""From a learning curve's points to its possible futures: arrays in, arrays out, no files but the packaged table."""
