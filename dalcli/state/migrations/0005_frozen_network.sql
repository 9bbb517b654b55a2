-- A head is a regression on the features of a frozen network: which network (JSON; NULL: it was trained as a whole), and
-- how strongly the weights were held back, are part of what a version is.
ALTER TABLE model_version ADD COLUMN network TEXT;
ALTER TABLE model_version ADD COLUMN penalty REAL;
