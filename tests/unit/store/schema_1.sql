-- A database of schema 1 with one thread, as turnloom 0.1 wrote it.
CREATE TABLE threads (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    recency_at_ms INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    has_turns INTEGER NOT NULL,
    owner TEXT,
    model_provider TEXT NOT NULL,
    model TEXT,
    reasoning_effort TEXT,
    source TEXT NOT NULL,
    source_kind TEXT NOT NULL,
    originator TEXT,
    thread_source TEXT,
    forked_from_id TEXT,
    parent_thread_id TEXT,
    cli_version TEXT NOT NULL,
    cwd TEXT NOT NULL,
    name TEXT,
    git_info TEXT,
    token_usage TEXT,
    settings TEXT NOT NULL,
    preview TEXT NOT NULL
);
CREATE INDEX threads_by_creation ON threads (archived, has_turns, created_at_ms);
CREATE INDEX threads_by_update ON threads (archived, has_turns, updated_at_ms);
CREATE INDEX threads_by_recency ON threads (archived, has_turns, recency_at_ms);
CREATE INDEX threads_by_parent ON threads (parent_thread_id) WHERE parent_thread_id IS NOT NULL;
CREATE INDEX threads_by_owner ON threads (owner) WHERE owner IS NOT NULL;

CREATE TABLE turns (
    thread INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    completed_at_ms INTEGER,
    duration_ms INTEGER,
    error TEXT,
    PRIMARY KEY (thread, ordinal)
) WITHOUT ROWID;
CREATE UNIQUE INDEX turns_by_id ON turns (thread, id);
CREATE INDEX turns_in_progress ON turns (thread) WHERE status = 'inProgress';

CREATE TABLE items (
    thread INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    completed_at_ms INTEGER,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX items_by_ordinal ON items (thread, ordinal);
CREATE INDEX items_by_turn ON items (thread, turn, ordinal);
CREATE INDEX items_in_progress ON items (thread, id) WHERE completed_at_ms IS NULL;

CREATE TABLE history (
    thread INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    turn INTEGER,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX history_by_ordinal ON history (thread, ordinal);

INSERT INTO threads (number, id, created_at_ms, updated_at_ms, recency_at_ms, archived, has_turns, model_provider,
    source, source_kind, cli_version, cwd, name, settings, preview)
VALUES (1, 'old', 1, 2, 3, 0, 1, 'mock', '"vscode"', 'vscode', '0.1.0', '/project', 'An old thread', '{"model":"m"}',
    'hello');
INSERT INTO turns (thread, ordinal, id, status, started_at_ms, completed_at_ms, duration_ms)
VALUES (1, 0, 't0', 'completed', 1, 2, 1);
INSERT INTO items (thread, ordinal, turn, id, type, started_at_ms, completed_at_ms, payload)
VALUES (1, 0, 0, 'i0', 'userMessage', 1, 1, CAST('{"id":"i0"}' AS BLOB));
INSERT INTO history (thread, ordinal, turn, payload) VALUES (1, 0, 0, CAST('{"role":"user"}' AS BLOB));
PRAGMA user_version = 1;
