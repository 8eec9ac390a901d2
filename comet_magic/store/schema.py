"""The schema of the store, forwards only."""

from __future__ import annotations

# Each script brings the schema from its place in the list to the next version. None is ever changed once released.
MIGRATIONS = (
    """
    CREATE TABLE sessions (id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, began REAL NOT NULL);

    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, began REAL NOT NULL, forked_from INTEGER
    );

    CREATE TABLE requests (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, at REAL NOT NULL,
        endpoint TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
        parameters TEXT NOT NULL, question TEXT NOT NULL,
        conversation INTEGER REFERENCES conversations ON DELETE SET NULL, cell TEXT, execution INTEGER,
        state TEXT NOT NULL, why TEXT NOT NULL DEFAULT '', most_usd REAL, afresh INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX requests_by_key ON requests (key, endpoint, at);
    CREATE INDEX requests_in_flight ON requests (session) WHERE state = 'in flight';
    CREATE INDEX requests_of_cells ON requests (conversation, cell, at);
    CREATE INDEX requests_by_age ON requests (at);

    CREATE TABLE replies (
        request TEXT PRIMARY KEY REFERENCES requests ON DELETE CASCADE, at REAL NOT NULL, message TEXT NOT NULL
    );

    CREATE TABLE turns (
        conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE, cell TEXT NOT NULL,
        place INTEGER NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, asked_after TEXT NOT NULL,
        request TEXT REFERENCES requests ON DELETE SET NULL, at REAL NOT NULL,
        session TEXT, execution INTEGER, cost_usd REAL, tokens INTEGER,
        wire TEXT NOT NULL, -- the last, for it is long, and often not read
        PRIMARY KEY (conversation, cell), UNIQUE (conversation, place)
    );
    CREATE INDEX turns_by_request ON turns (request);
    CREATE INDEX turns_by_age ON turns (conversation, at);

    CREATE TABLE ledger (
        request TEXT PRIMARY KEY, session TEXT NOT NULL, at REAL NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
        conversation TEXT NOT NULL, input INTEGER, output INTEGER, cached INTEGER, written INTEGER, cost_usd REAL
    );
    CREATE INDEX ledger_by_age ON ledger (at);
    CREATE INDEX ledger_by_session ON ledger (session);

    CREATE TABLE prices (
        endpoint TEXT NOT NULL, model TEXT NOT NULL, input REAL NOT NULL, output REAL NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (endpoint, model)
    );
    """,
    """
    CREATE TABLE ways (
        endpoint TEXT NOT NULL, model TEXT NOT NULL, way TEXT NOT NULL, fits INTEGER NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (endpoint, model, way)
    );

    CREATE TABLE code_cells (
        conversation TEXT NOT NULL, cell TEXT NOT NULL, digest TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (conversation, cell)
    );
    """,
    # Whose money a process spends: its own, or that of the process that started it.
    """
    ALTER TABLE sessions ADD COLUMN payer TEXT;
    UPDATE sessions SET payer = id;
    CREATE INDEX sessions_by_payer ON sessions (payer);
    """,
    # Turns whose cells were deleted (asks_in is NULL), or ask in another conversation by now.
    """
    CREATE TABLE left_out (
        conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE, cell TEXT NOT NULL,
        asks_in TEXT, at REAL NOT NULL, PRIMARY KEY (conversation, cell)
    );
    CREATE INDEX requests_by_cell ON requests (cell, at);
    """,
    # What endpoints say of their models, where there were prices alone; and embeddings, each by a digest of its text.
    """
    DROP TABLE prices;
    CREATE TABLE models (
        endpoint TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, dialects TEXT NOT NULL, context INTEGER,
        max_output INTEGER, price_in REAL, price_out REAL, shuts_down TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (endpoint, id)
    );
    CREATE TABLE vectors (
        batch INTEGER PRIMARY KEY, at REAL NOT NULL, length INTEGER NOT NULL, digests BLOB NOT NULL,
        vectors BLOB NOT NULL -- the last, for it is long
    );
    CREATE TABLE embeddings (digest_start INTEGER PRIMARY KEY, batch INTEGER NOT NULL, row INTEGER NOT NULL);
    """,
    # Replies to one prompt over many rows, each by a digest of what was asked; and the batches in which some are.
    """
    ALTER TABLE ledger ADD COLUMN replies INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE row_runs (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, ended REAL
    );
    CREATE TABLE rows (
        digest BLOB PRIMARY KEY, run INTEGER NOT NULL, tokens INTEGER, cost_usd REAL, error TEXT, reply TEXT
    ) WITHOUT ROWID;
    CREATE INDEX rows_by_run ON rows (run);
    CREATE TABLE batches (
        id TEXT PRIMARY KEY, run INTEGER NOT NULL, at REAL NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
        state TEXT NOT NULL, batch TEXT NOT NULL, size INTEGER NOT NULL, most_usd REAL, held TEXT NOT NULL,
        digests BLOB NOT NULL -- the last, for it is long
    );
    """,
    # Pictures, sound, film and transcripts: each job, and the files that came of it. And what those cost, of models.
    """
    DROP TABLE models;
    CREATE TABLE models (
        endpoint TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, dialects TEXT NOT NULL, context INTEGER,
        max_output INTEGER, price_in REAL, price_out REAL, shuts_down TEXT NOT NULL, per_request REAL, per_second REAL,
        at REAL NOT NULL, PRIMARY KEY (endpoint, id)
    );
    CREATE TABLE media_jobs (
        id TEXT PRIMARY KEY, at REAL NOT NULL, session TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
        endpoint TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL, parameters TEXT NOT NULL, api TEXT NOT NULL,
        folder TEXT NOT NULL, estimated_usd REAL, state TEXT NOT NULL, why TEXT NOT NULL, remote TEXT NOT NULL,
        usage TEXT NOT NULL, cost_usd REAL, seconds REAL, answer TEXT NOT NULL
    );
    CREATE INDEX media_jobs_by_key ON media_jobs (key, at);
    CREATE TABLE media_files (
        job TEXT NOT NULL REFERENCES media_jobs ON DELETE CASCADE, number INTEGER NOT NULL, path TEXT NOT NULL,
        mime TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, caption TEXT NOT NULL,
        PRIMARY KEY (job, number)
    );
    """,
)
