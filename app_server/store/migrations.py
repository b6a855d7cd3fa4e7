"""The schema as numbered, forward-only steps; `PRAGMA user_version` says how many have been taken."""

import sqlite3

STEPS: tuple[str, ...] = (
    # Threads, turns, items and history. Rows refer to a thread by its number: ids of 36 bytes in every row and index
    # would cost more than a small item.
    """
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
    """,
    # The log of approvals. It outlives the threads that it is about, so it refers to them by name only.
    """
    CREATE TABLE decisions (
        number INTEGER PRIMARY KEY,
        thread_id TEXT NOT NULL,
        turn_id TEXT NOT NULL,
        item_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        summary TEXT NOT NULL,
        asked_at_ms INTEGER NOT NULL,
        decided_at_ms INTEGER,
        decision TEXT,
        decided_by TEXT
    );
    CREATE INDEX decisions_by_thread ON decisions (thread_id);
    CREATE INDEX decisions_open ON decisions (turn_id) WHERE decision IS NULL;
    """,
    # Reviews by a model: the id of each, and the whole of it as JSON.
    """
    ALTER TABLE decisions ADD COLUMN review_id TEXT;
    ALTER TABLE decisions ADD COLUMN review TEXT;
    CREATE INDEX decisions_by_review ON decisions (review_id) WHERE review_id IS NOT NULL;
    """,
    # What a thread goes on with by itself: messages that wait for their turn, and the goal that it works towards.
    """
    CREATE TABLE queued_messages (
        thread INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
        id TEXT NOT NULL,
        position INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        input BLOB NOT NULL,
        metadata TEXT,
        PRIMARY KEY (thread, id)
    ) WITHOUT ROWID;
    CREATE INDEX queued_messages_by_position ON queued_messages (thread, position);

    CREATE TABLE goals (
        thread INTEGER PRIMARY KEY REFERENCES threads (number) ON DELETE CASCADE,
        objective TEXT NOT NULL,
        status TEXT NOT NULL,
        token_budget INTEGER,
        tokens_used INTEGER NOT NULL,
        time_used_ms INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
    );
    """,
    # Session files of the reference, one for each of its threads. A row without a thread is of one that was deleted
    # here, so that it is not listed again. The counts are those of what was read, and tell whether more came since.
    """
    CREATE TABLE session_files (
        thread_id TEXT PRIMARY KEY,
        thread INTEGER REFERENCES threads (number) ON DELETE SET NULL,
        path TEXT NOT NULL,
        mtime_ns INTEGER NOT NULL,
        size INTEGER NOT NULL,
        archived INTEGER NOT NULL,
        name TEXT,
        state TEXT NOT NULL,
        read_mtime_ns INTEGER,
        read_size INTEGER,
        turns INTEGER,
        items INTEGER,
        history INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX session_files_by_thread ON session_files (thread);
    """,
    # How users keep their threads: in sections and projects, with attachments, read or not. `first_unread` is the id of
    # a turn, or empty for the thread's start; null says that all was read. A key of a project outlives the project.
    """
    ALTER TABLE threads ADD COLUMN section_id TEXT;
    ALTER TABLE threads ADD COLUMN section_position INTEGER;
    ALTER TABLE threads ADD COLUMN section_entered_at_ms INTEGER;
    ALTER TABLE threads ADD COLUMN project_id TEXT;
    ALTER TABLE threads ADD COLUMN daybreak_enabled INTEGER;
    ALTER TABLE threads ADD COLUMN memory_mode TEXT;
    ALTER TABLE threads ADD COLUMN read_revision TEXT;
    ALTER TABLE threads ADD COLUMN first_unread TEXT;
    CREATE INDEX threads_by_section ON threads (section_id, section_position) WHERE section_id IS NOT NULL;
    CREATE INDEX threads_by_project ON threads (project_id, recency_at_ms) WHERE project_id IS NOT NULL;

    CREATE TABLE sections (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        appearance TEXT
    );
    INSERT INTO sections (id, name) VALUES ('01984de2-8f74-7c91-a3b2-5c5e937cf318', 'Pinned');

    CREATE TABLE projects (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        roots TEXT NOT NULL,
        metadata TEXT NOT NULL,
        position INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL
    );
    CREATE TABLE project_keys (
        idempotency_key TEXT PRIMARY KEY,
        project_id TEXT NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE attachments (
        number INTEGER PRIMARY KEY,
        thread INTEGER NOT NULL REFERENCES threads (number) ON DELETE CASCADE,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        identity_key TEXT NOT NULL,
        payload TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX attachments_by_key ON attachments (type, identity_key, thread);
    CREATE INDEX attachments_by_thread ON attachments (thread, number);
    """,
    # The index of all text, by the rowids of items. It holds no text, and for each three characters no more than the
    # items that have them. Items come into it soon after they are completed, from the queue; what was there before this
    # step, from the backlog. A removed item leaves what is needed to take it out again.
    """
    CREATE VIRTUAL TABLE search USING fts5 (
        text, content = '', columnsize = 0, detail = none, tokenize = 'trigram case_sensitive 1'
    );
    CREATE VIRTUAL TABLE search_terms USING fts5vocab (search, row);
    CREATE TABLE search_docs (item INTEGER PRIMARY KEY, thread INTEGER NOT NULL);
    CREATE TABLE search_queue (item INTEGER PRIMARY KEY);
    CREATE TABLE search_removed (
        number INTEGER PRIMARY KEY,
        item INTEGER NOT NULL,
        type TEXT NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE TABLE search_backlog (after INTEGER NOT NULL, through INTEGER NOT NULL);
    INSERT INTO search_backlog SELECT 0, coalesce(max(rowid), 0) FROM items;
    CREATE TRIGGER items_stored AFTER INSERT ON items WHEN new.completed_at_ms IS NOT NULL BEGIN
        INSERT OR IGNORE INTO search_queue VALUES (new.rowid);
    END;
    CREATE TRIGGER items_completed AFTER UPDATE ON items
    WHEN old.completed_at_ms IS NULL AND new.completed_at_ms IS NOT NULL BEGIN
        INSERT OR IGNORE INTO search_queue VALUES (new.rowid);
    END;
    CREATE TRIGGER items_removed AFTER DELETE ON items BEGIN
        DELETE FROM search_queue WHERE item = old.rowid;
        INSERT INTO search_removed (item, type, payload)
        SELECT item, old.type, old.payload FROM search_docs WHERE item = old.rowid;
        DELETE FROM search_docs WHERE item = old.rowid;
    END;
    """,
    # What was taken over from other agents, as the wire's JSON.
    """
    CREATE TABLE imports (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        provider_id TEXT,
        completed_at_ms INTEGER NOT NULL,
        successes TEXT NOT NULL,
        failures TEXT NOT NULL
    );
    """,
)

VERSION = len(STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps the database has taken; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Take the missing steps, each in a transaction of its own. `connection` is in autocommit mode."""
    for number, step in enumerate(STEPS, start=1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read again under the write lock: another process may have taken the step meanwhile.
            if version_of(connection) < number:
                for statement in _statements(step):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    # Not `executescript`: it commits first, and a step must be whole or absent.
    statements: list[str] = []
    begun = ""
    for piece in script.split(";"):
        begun += piece + ";"
        # The statements of a trigger end with semicolons of their own.
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return [statement for statement in statements if statement.strip(" \n;")]
