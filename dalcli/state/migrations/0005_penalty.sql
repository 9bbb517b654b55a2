-- The head of a frozen network is a regression: how strongly its weights were held back is part of what it is.
ALTER TABLE model_version ADD COLUMN penalty REAL;
