-- The ledger: what bcsync knows of every record, and what it did.
-- This file is read by people too: each table and column says what it holds. Times are UTC, ISO 8601, and sort as text.
-- Ask the views at the end rather than the tables; their names and columns stay.
-- A checksum tells that a row was damaged on the disk. Who changes a column that it is over has to write it anew.

PRAGMA application_id = 0x62637379;  -- "bcsy"

-- Single facts about this file.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,  -- epoch: counts the processes that wrote here, -1 in a copy; serving: the epoch that takes requests; restored_at: when this file was found to be an older copy of itself, or empty
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('epoch', '0'), ('serving', ''), ('restored_at', '');

-- The Business Central companies that jobs write to. A name is bound to one company at first use and to no other afterwards.
CREATE TABLE target (
    target_id      INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,  -- as in [targets.NAME]
    tenant         TEXT NOT NULL,         -- as configured
    environment    TEXT NOT NULL,         -- as configured
    company_id     TEXT NOT NULL,         -- id in Business Central
    company_name   TEXT NOT NULL,         -- its name there, at first use
    local_currency TEXT NOT NULL,         -- currency code of the company; blank on documents
    bound_at       TEXT NOT NULL,         -- when it was first used
    suspended      TEXT,                  -- why nothing is written to it: it was restored from a backup; null: it is written
    checksum       BLOB NOT NULL          -- over name, tenant, environment, company_id and local_currency
) STRICT;

-- The configured jobs that have run at least once.
CREATE TABLE job (
    job_id    INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,  -- as in [jobs.NAME]
    target_id INTEGER NOT NULL REFERENCES target,
    entity    TEXT NOT NULL,         -- Business Central entity set
    cursor    TEXT,                  -- where the next incremental read begins; null: read everything
    checksum  BLOB,                  -- over the cursor
    mapping   BLOB NOT NULL,         -- fingerprint of mapping and policies in force at the last read
    full_at   TEXT                   -- end of the last complete full read
) STRICT;

-- A record of the source that is a row in Business Central. Narrow: every record that is read is looked up here.
CREATE TABLE link (
    job_id      INTEGER NOT NULL REFERENCES job,
    key         TEXT NOT NULL,     -- the record's key in the source
    fingerprint BLOB NOT NULL,     -- 128 bits over the source record and the mapping, as last settled; one for all whose record the source lost
    link_id     INTEGER NOT NULL,  -- row in link_detail
    PRIMARY KEY (job_id, key)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX link_by_detail ON link (link_id);

-- The wide part of a link.
CREATE TABLE link_detail (
    link_id     INTEGER PRIMARY KEY,
    target_id   INTEGER NOT NULL REFERENCES target,
    entity      TEXT NOT NULL,     -- Business Central entity set of the row
    bc_id       TEXT NOT NULL,     -- id (GUID) in Business Central
    number      TEXT NOT NULL,     -- number or code there; empty when the entity has none
    etag        TEXT NOT NULL,     -- as Business Central gave it last
    state       TEXT NOT NULL CHECK (state IN ('linked', 'closed', 'unexplained')),  -- closed: posted, or shipped in part; unexplained: Business Central no longer has it, and nothing tells why
    match_value TEXT,              -- canonical value of match_on at the last write
    draft       BLOB NOT NULL,     -- 128 bits over what was wanted at the last write; a mark when only a part of it was written
    snapshot    TEXT NOT NULL,     -- JSON: what was sent, what Business Central answered, lines
    linked_at   TEXT NOT NULL,
    made_at     TEXT,              -- when Business Central made the row for us; null: it was there before
    written_at  TEXT NOT NULL,     -- last successful write or adoption
    checksum    BLOB NOT NULL,     -- over all of the above but the times, and over the link's job and key
    posted_as   TEXT,              -- number of the invoice that a document became
    UNIQUE (target_id, entity, bc_id)
) STRICT;

CREATE INDEX link_by_making ON link_detail (target_id, entity, made_at) WHERE made_at IS NOT NULL AND state = 'linked';
CREATE INDEX link_unexplained ON link_detail (link_id) WHERE state = 'unexplained';

-- The wanted state of records that are not settled: sent in order of seq.
CREATE TABLE outbox (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id         INTEGER NOT NULL REFERENCES job,
    key            TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('pending', 'waiting', 'held', 'locked', 'conflict', 'quarantined')),
    fingerprint    BLOB NOT NULL,     -- of the source record and the mapping
    removal        TEXT CHECK (removal IN ('block', 'delete')),  -- the source has lost the record: what becomes of its row; null: it is wanted
    record         TEXT NOT NULL,     -- JSON: the source record itself; null when the source has lost it
    draft          TEXT,              -- JSON: what Business Central is to hold; null when the mapping refused the record
    match_value    TEXT,              -- canonical value of match_on
    refused        INTEGER NOT NULL DEFAULT 0,  -- 1: quarantined when it was read, so that nothing of it can be sent
    reason         TEXT,              -- why it is in this state, for people
    code           TEXT,              -- Business Central's error code
    correlation_id TEXT,              -- Business Central's correlation id, for its support
    error          TEXT,              -- code and words without the record's own values: several records can have the same
    retry_at       TEXT,              -- when it is taken up again by itself; null: pending and waiting ones in every run, others when a person has acted
    waiting_since  TEXT,              -- since when something that it refers to has been missing
    decision       TEXT CHECK (decision IN ('source', 'bc')),  -- who is right, as a person decided after a conflict
    seen_etag      TEXT,              -- of the row in conflict: a decision for the source holds as long as it stands
    claim          TEXT,              -- match value that another record owned when this was read; taken as soon as it is free
    attempts       INTEGER NOT NULL DEFAULT 0,  -- tries that ended with a refusal
    staged_at      TEXT NOT NULL,     -- when this version was read
    changed_at     TEXT NOT NULL,     -- when state or reason changed last
    checksum       BLOB NOT NULL,     -- over job_id, key, fingerprint, draft, match_value, claim and removal
    UNIQUE (job_id, key)
) STRICT;
CREATE INDEX outbox_by_state ON outbox (job_id, state, seq);
CREATE INDEX outbox_removals ON outbox (job_id) WHERE removal IS NOT NULL;
CREATE INDEX outbox_by_claim ON outbox (job_id, seq) WHERE claim IS NOT NULL;
CREATE INDEX outbox_by_error ON outbox (job_id, error) WHERE error IS NOT NULL;
-- Nothing is looked up by it. It has once more what no checksum is over, so that a check of the file finds what was damaged.
CREATE INDEX outbox_once_more ON outbox (refused, retry_at, waiting_since, decision, seen_etag)
    WHERE refused <> 0 OR retry_at IS NOT NULL OR waiting_since IS NOT NULL OR decision IS NOT NULL OR seen_etag IS NOT NULL;

-- A durable note "about to send this", written before the request leaves. One that outlives its request has an open outcome.
-- A record has several when requests under one etag, or creates under one key, were lost one after the other: at most one
-- of them can win.
CREATE TABLE intent (
    intent_id   INTEGER PRIMARY KEY,
    job_id      INTEGER NOT NULL REFERENCES job,
    key         TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('create', 'update', 'update_order', 'delete')),
    bc_id       TEXT,              -- the row that is changed; null for a create
    base_etag   TEXT,              -- sent as If-Match
    fingerprint BLOB NOT NULL,     -- of the outbox row this was made from
    draft       BLOB NOT NULL,     -- 128 bits over the draft
    match_value TEXT,
    matched     TEXT,              -- JSON: the properties of `match_on` and their values, by which a lost create is looked for; null for a change
    snapshot    TEXT NOT NULL,     -- JSON: what the link will hold once this is settled; until then `answered` is what BC held before
    total       TEXT,              -- JSON: the total that the document must come to
    partial     INTEGER NOT NULL DEFAULT 0,  -- 1: one step of a change; more follow
    run_id      INTEGER NOT NULL REFERENCES run,
    sent_at     TEXT NOT NULL,     -- our clock, right before sending; each attempt stamps it anew
    clock_ahead INTEGER,           -- milliseconds by which Business Central's clock was ahead of ours; null: unknown
    released    INTEGER NOT NULL DEFAULT 0,  -- 1: read back and found undone; the next write under the same etag or key decides which of them wins
    checksum    BLOB NOT NULL      -- over all of the above but run_id and released
) STRICT;
CREATE INDEX intent_by_record ON intent (job_id, key);
CREATE UNIQUE INDEX intent_on_its_way ON intent (job_id, key) WHERE NOT released;

-- Which record owns which match value: two records can never become one row.
CREATE TABLE match_claims (
    target_id INTEGER NOT NULL REFERENCES target,
    entity    TEXT NOT NULL,
    value     TEXT NOT NULL,
    job_id    INTEGER NOT NULL REFERENCES job,
    key       TEXT NOT NULL,
    PRIMARY KEY (target_id, entity, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX match_claims_by_record ON match_claims (job_id, key);

-- One pass of one job.
CREATE TABLE run (
    run_id       INTEGER PRIMARY KEY,
    job_id       INTEGER NOT NULL REFERENCES job,
    epoch        INTEGER NOT NULL,  -- the process that ran it
    cause        TEXT NOT NULL,     -- command, schedule, request
    mode         TEXT NOT NULL CHECK (mode IN ('full', 'incremental')),
    started_at   TEXT NOT NULL,
    finished_at  TEXT,
    result       TEXT NOT NULL CHECK (result IN ('running', 'done', 'attention', 'held', 'failed', 'denied', 'refused', 'interrupted')),
    message      TEXT,              -- why it did not end as done
    null_cursors INTEGER NOT NULL DEFAULT 0,  -- records whose cursor column is null: only full reads see them
    missing      INTEGER,           -- linked records that a complete full read did not find
    vanished     INTEGER,           -- linked rows that Business Central no longer has; looked at by run --full
    requests     INTEGER NOT NULL DEFAULT 0,  -- HTTP requests to Business Central
    read         INTEGER NOT NULL DEFAULT 0,  -- = unchanged + filtered + queued + staged + refused
    unchanged    INTEGER NOT NULL DEFAULT 0,
    filtered     INTEGER NOT NULL DEFAULT 0,
    queued       INTEGER NOT NULL DEFAULT 0,
    staged       INTEGER NOT NULL DEFAULT 0,
    refused      INTEGER NOT NULL DEFAULT 0,
    taken        INTEGER NOT NULL DEFAULT 0,  -- = the sum of all that follow
    created      INTEGER NOT NULL DEFAULT 0,
    adopted      INTEGER NOT NULL DEFAULT 0,
    updated      INTEGER NOT NULL DEFAULT 0,
    equal        INTEGER NOT NULL DEFAULT 0,
    closed       INTEGER NOT NULL DEFAULT 0,
    deleted      INTEGER NOT NULL DEFAULT 0,  -- rows, because the source lost their records
    blocked      INTEGER NOT NULL DEFAULT 0,  -- the same
    waiting      INTEGER NOT NULL DEFAULT 0,
    pending      INTEGER NOT NULL DEFAULT 0,
    held         INTEGER NOT NULL DEFAULT 0,
    locked       INTEGER NOT NULL DEFAULT 0,
    conflict     INTEGER NOT NULL DEFAULT 0,
    quarantined  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX run_by_job ON run (job_id, run_id);

-- What other processes ask the one that schedules jobs to do. The one table that they write.
CREATE TABLE requests (
    request_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL,  -- run
    job         TEXT NOT NULL,  -- as in [jobs.NAME]
    argument    TEXT,           -- what the kind needs beside the job; of run: full, or null
    asked_at    TEXT NOT NULL,
    taken_at    TEXT,           -- when it was taken up; null: it can still be withdrawn
    finished_at TEXT,
    run_id      INTEGER REFERENCES run ON DELETE SET NULL,  -- the pass that was made for it
    result      TEXT,           -- how it ended, in the words of run.result
    message     TEXT            -- why it did not end as done
) STRICT;
CREATE INDEX requests_unfinished ON requests (taken_at) WHERE finished_at IS NULL;

-- Up to where the schedule of each job was kept. What lies between that and the next start was missed.
CREATE TABLE schedule (
    job        TEXT NOT NULL PRIMARY KEY,  -- as in [jobs.NAME]
    triggers   TEXT NOT NULL,              -- its schedules with their zones; under others nothing was missed
    pass_until TEXT NOT NULL,              -- passes that were due up to here are over
    full_until TEXT NOT NULL,              -- the same of passes that read everything
    skipped    INTEGER NOT NULL DEFAULT 0, -- times left out because a pass was still running
    skipped_at TEXT                        -- when that happened last
) STRICT, WITHOUT ROWID;

-- Jobs whose last pass failed. Also of jobs that never came as far as a row in job.
CREATE TABLE failing (
    job    TEXT NOT NULL PRIMARY KEY,  -- as in [jobs.NAME]
    since  TEXT NOT NULL,              -- when the first of these passes ended
    passes INTEGER NOT NULL,           -- how many have failed in a row
    result TEXT NOT NULL CHECK (result IN ('failed', 'denied', 'refused'))  -- of the last one
) STRICT, WITHOUT ROWID;

-- What people were told of and not yet of its end, so that they are told of changes alone, also across restarts.
CREATE TABLE told_alert (
    channel   TEXT NOT NULL,     -- by which they were told: command, webhook
    condition TEXT NOT NULL,     -- failing, held, closed_unexplained, backlog, secret_expires, wal
    subject   TEXT NOT NULL,     -- the job or target it is about; empty: the ledger
    level     INTEGER NOT NULL,  -- how bad it is: they are told again when it is worse
    since     TEXT NOT NULL,     -- when it began
    PRIMARY KEY (channel, condition, subject)
) STRICT, WITHOUT ROWID;

-- What the brake held at the last run of a job, until a run goes ahead. `bcsync approve` makes its counts a ceiling.
CREATE TABLE held_plan (
    job_id      INTEGER PRIMARY KEY REFERENCES job,
    run_id      INTEGER NOT NULL REFERENCES run,  -- the run that was held
    plan        BLOB NOT NULL,     -- 128 bits over key, kind and content of everything that was to be done
    creates     INTEGER NOT NULL,  -- rows to be made
    updates     INTEGER NOT NULL,  -- rows to be changed
    deletes     INTEGER NOT NULL,  -- rows to be deleted or blocked
    closes      INTEGER NOT NULL,  -- links to be closed
    approved_at TEXT,              -- when a person approved it; null: not yet
    checksum    BLOB NOT NULL      -- over all of the above
) STRICT;

-- What a run did with one record.
CREATE TABLE change (
    change_id      INTEGER PRIMARY KEY,
    run_id         INTEGER NOT NULL REFERENCES run,
    job_id         INTEGER NOT NULL REFERENCES job,
    key            TEXT NOT NULL,
    outcome        TEXT NOT NULL,  -- created, adopted, updated, closed, deleted, blocked, waiting, pending, locked, conflict, quarantined
    bc_id          TEXT,
    number         TEXT,
    reason         TEXT,
    code           TEXT,
    correlation_id TEXT,
    at             TEXT NOT NULL
) STRICT;
CREATE INDEX change_by_run ON change (run_id);
CREATE INDEX change_by_record ON change (job_id, key);

-- Which property of which record changed from what to what. Values may be left out by configuration.
CREATE TABLE field_change (
    change_id INTEGER NOT NULL REFERENCES change ON DELETE CASCADE,
    property  TEXT NOT NULL,  -- a line's as lines[KEY].property
    old       TEXT,           -- JSON: what we had sent, or what Business Central holds that somebody changed there
    new       TEXT,           -- JSON: what was sent, or in a conflict what the source wants
    PRIMARY KEY (change_id, property)
) STRICT, WITHOUT ROWID;

-- Every pass, newest first.
CREATE VIEW sync_history AS
SELECT run.run_id, job.name AS job, run.mode, run.cause, run.started_at, run.finished_at, run.result, run.message,
       run.read, run.unchanged, run.filtered, run.queued, run.staged, run.refused,
       run.taken, run.created, run.adopted, run.updated, run.equal, run.closed, run.deleted, run.blocked,
       run.waiting, run.pending, run.held, run.locked, run.conflict, run.quarantined,
       run.missing, run.vanished, run.null_cursors, run.requests
FROM run JOIN job USING (job_id) ORDER BY run.run_id DESC;

-- Records that a person must look at.
CREATE VIEW failed_records AS
SELECT job.name AS job, outbox.key, outbox.state, outbox.reason, outbox.code, outbox.correlation_id,
       outbox.attempts, outbox.retry_at, outbox.staged_at, outbox.changed_at, outbox.record,
       CASE  -- what happens next
           WHEN outbox.state = 'conflict' AND outbox.seen_etag IS NULL
               THEN 'nothing, until the source changes or `bcsync resolve ' || job.name || ' ' || outbox.key || ' --take bc`'
           WHEN outbox.state = 'conflict'
               THEN 'nothing, until the source changes or `bcsync resolve ' || job.name || ' ' || outbox.key || '`'
           WHEN outbox.claim IS NOT NULL THEN 'sent as soon as the value of match_on is free'
           WHEN outbox.refused THEN 'tried when record, mapping or configuration change'
           WHEN outbox.waiting_since IS NOT NULL AND outbox.error IS NULL
               THEN 'sent as soon as what it waits for is there; looked for in every run'
           WHEN outbox.retry_at IS NULL
               THEN 'looked for in every run; sent after `bcsync retry ' || job.name || ' ' || outbox.key || '`'
           ELSE 'tried again in the first run after ' || outbox.retry_at || ', or after `bcsync retry ' || job.name || '`'
       END AS next
FROM outbox JOIN job USING (job_id)
WHERE outbox.state IN ('quarantined', 'conflict') ORDER BY job.name, outbox.seq;

-- Everything that is not in Business Central yet, and why.
CREATE VIEW pending_records AS
SELECT job.name AS job, outbox.key, outbox.state, outbox.reason, outbox.code,
       outbox.retry_at, outbox.waiting_since, outbox.staged_at, outbox.changed_at,
       (SELECT min(intent.sent_at) FROM intent WHERE intent.job_id = outbox.job_id AND intent.key = outbox.key) AS open_since,
       CASE outbox.state  -- what happens next
           WHEN 'waiting' THEN 'sent as soon as what it waits for is there; looked for in every run'
           WHEN 'held' THEN 'nothing, until the brake lets it go or `bcsync approve ' || job.name || '`'
           WHEN 'locked' THEN 'looked at again in the first run after ' || outbox.retry_at
           ELSE 'sent, or found out about, in the next run'
       END AS next
FROM outbox JOIN job USING (job_id)
WHERE outbox.state IN ('pending', 'waiting', 'held', 'locked') ORDER BY job.name, outbox.seq;

-- Which property changed, when, from what to what, newest first.
CREATE VIEW field_changes AS
SELECT change.at, job.name AS job, change.key, change.number, change.outcome,
       field_change.property, field_change.old, field_change.new, change.run_id
FROM field_change JOIN change USING (change_id) JOIN job USING (job_id) ORDER BY change.change_id DESC;

-- Where each job stands.
CREATE VIEW job_status AS
SELECT job.name AS job, job.entity, target.name AS target, target.company_name AS company,
       last.started_at AS last_run, last.result AS last_result, last.message AS last_message,
       (SELECT max(run.finished_at) FROM run WHERE run.job_id = job.job_id AND run.result IN ('done', 'attention')) AS last_success,
       (SELECT count(*) FROM link WHERE link.job_id = job.job_id) AS linked,
       (SELECT count(*) FROM link_detail JOIN link USING (link_id)
        WHERE link_detail.state = 'unexplained' AND link.job_id = job.job_id) AS unexplained,
       (SELECT count(*) FROM outbox WHERE outbox.job_id = job.job_id AND outbox.state = 'pending') AS pending,
       (SELECT count(*) FROM outbox WHERE outbox.job_id = job.job_id AND outbox.state = 'waiting') AS waiting,
       (SELECT count(*) FROM outbox WHERE outbox.job_id = job.job_id AND outbox.state = 'held') AS held,
       (SELECT count(*) FROM outbox WHERE outbox.job_id = job.job_id AND outbox.state = 'locked') AS locked,
       (SELECT count(*) FROM outbox WHERE outbox.job_id = job.job_id AND outbox.state = 'conflict') AS conflict,
       (SELECT count(*) FROM outbox WHERE outbox.job_id = job.job_id AND outbox.state = 'quarantined') AS quarantined,
       (SELECT count(*) FROM intent WHERE intent.job_id = job.job_id) AS open_intents,
       (SELECT schedule.skipped FROM schedule WHERE schedule.job = job.name) AS skipped,
       (SELECT substr(lower(hex(plan)), 1, 8) || ': ' || creates || ' creates, ' || updates || ' updates, '
               || deletes || ' deletes, ' || closes || ' closes' || iif(approved_at IS NULL, '', ', approved')
        FROM held_plan WHERE held_plan.job_id = job.job_id) AS held_plan,
       (SELECT meta.value FROM meta WHERE meta.name = 'restored_at' AND meta.value > coalesce(job.full_at, '')) AS restored_at,
       job.cursor, job.full_at
FROM job JOIN target USING (target_id)
LEFT JOIN run AS last ON last.run_id = (SELECT max(run.run_id) FROM run WHERE run.job_id = job.job_id)
ORDER BY job.name;

-- Which record is which row in Business Central.
CREATE VIEW links AS
SELECT job.name AS job, link.key, link_detail.number, link_detail.bc_id, link_detail.entity, link_detail.state,
       link_detail.posted_as,
       link_detail.linked_at, link_detail.written_at
FROM link JOIN link_detail USING (link_id) JOIN job USING (job_id) ORDER BY job.name, link.key;
