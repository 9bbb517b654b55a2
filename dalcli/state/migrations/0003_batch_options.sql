-- What a batch was asked with was two JSON texts, one a line: as typed, and in effect. From now on it is one JSON object
-- of both. Put together as text: SQLite's own JSON functions would rewrite a gamma of Infinity, or refuse it.
UPDATE batch
SET options = '{"effective": ' || substr(options, instr(options, char(10)) + 1)
           || ', "typed": ' || substr(options, 1, instr(options, char(10)) - 1) || '}'
WHERE instr(options, char(10)) > 0;
