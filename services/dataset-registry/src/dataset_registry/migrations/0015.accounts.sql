-- Who may sign in, with which roles, and what they are signed in by. Passwords are Argon2id in PHC form; of tokens only
-- the SHA-256 is kept, so who reads these tables can sign in as nobody.

CREATE TABLE accounts (
    name         text PRIMARY KEY,             -- lower case, so that nobody is there twice
    display_name text NOT NULL,
    password     text,                         -- null: nobody signs in with one
    roles        text[] NOT NULL,
    machine      boolean NOT NULL,             -- a program: it has tokens and no password
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    disabled_at  timestamptz
);

CREATE TABLE sessions (
    token_hash   bytea PRIMARY KEY,
    account      text NOT NULL REFERENCES accounts,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,         -- to the minute
    revoked_at   timestamptz
);

CREATE INDEX sessions_by_account ON sessions (account);

CREATE TABLE service_tokens (
    token_id     uuid PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE,
    account      text NOT NULL REFERENCES accounts,
    label        text NOT NULL,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    last_used_at timestamptz,
    expires_at   timestamptz,
    revoked_at   timestamptz
);

CREATE INDEX service_tokens_by_account ON service_tokens (account, created_at);

-- Wrong passwords in a row, for an account, an address, and an account from an address.
CREATE TABLE sign_in_failures (
    subject  text PRIMARY KEY,
    failures int NOT NULL,
    last_at  timestamptz NOT NULL
);

CREATE INDEX sign_in_failures_by_time ON sign_in_failures (last_at);
