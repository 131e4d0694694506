-- The results of one or several suites. Scores are in percent, sizes in bytes, times in seconds.
-- JSON stands where the keys differ from cell to cell.

CREATE TABLE suites (
    suite TEXT PRIMARY KEY,
    folder TEXT NOT NULL,       -- where gps-seg bench run has written it
    settings TEXT NOT NULL      -- suite.json, without its list of current cells
);

CREATE TABLE cells (
    suite TEXT NOT NULL REFERENCES suites,
    cell TEXT NOT NULL,
    data TEXT NOT NULL,
    model TEXT NOT NULL,
    method TEXT NOT NULL,
    label TEXT NOT NULL,
    role TEXT NOT NULL,         -- trial (it tunes a setting) or final
    seed INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('finished', 'failed', 'unfinished')),
    is_current INTEGER NOT NULL,-- 0: stale, made by other code or another config than the suite has now
    epochs INTEGER,
    trained INTEGER,            -- entries that may move
    selected INTEGER,           -- selected entries of pretrained weights among them
    total INTEGER,              -- all entries of the model
    delta_bytes INTEGER,
    peak_process_bytes INTEGER,
    peak_device_bytes INTEGER,  -- NULL without an accelerator
    folder TEXT NOT NULL,
    tuned TEXT NOT NULL,        -- JSON: value by setting
    seconds TEXT NOT NULL,      -- JSON: selection, training, whole
    hashes TEXT NOT NULL,       -- JSON
    versions TEXT NOT NULL,     -- JSON
    machine TEXT NOT NULL,      -- JSON
    aggregation TEXT NOT NULL,  -- JSON: what a metric averages over
    failures TEXT NOT NULL,     -- JSON: errors of crashed attempts
    PRIMARY KEY (suite, cell)
);

CREATE TABLE scores (
    suite TEXT NOT NULL,
    cell TEXT NOT NULL,
    split TEXT NOT NULL,        -- validation, test, or test:NAME for a further test set
    metric TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (suite, cell, split, metric),
    FOREIGN KEY (suite, cell) REFERENCES cells
);

CREATE TABLE curves (
    suite TEXT NOT NULL,
    cell TEXT NOT NULL,
    curve TEXT NOT NULL,        -- loss (x: steps) or validation (x: epochs)
    x REAL NOT NULL,
    value REAL,
    FOREIGN KEY (suite, cell) REFERENCES cells
);

CREATE TABLE images (           -- scores of single test images
    suite TEXT NOT NULL,
    cell TEXT NOT NULL,
    image TEXT NOT NULL,
    metric TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (suite, cell, image, metric),
    FOREIGN KEY (suite, cell) REFERENCES cells
);

CREATE TABLE costs (            -- what cells of a cost suite measured
    suite TEXT NOT NULL,
    cell TEXT NOT NULL,
    method TEXT NOT NULL,
    quantity TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (suite, cell, method, quantity),
    FOREIGN KEY (suite, cell) REFERENCES cells
);
