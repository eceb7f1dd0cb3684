#!/bin/sh
# Run by the image of Postgres, once, while its server is made: a user and a database for the ledger alone. The superuser
# has no password afterwards, so nobody is let in as that from outside of the container.
set -e
psql --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres --set ON_ERROR_STOP=1 <<'SQL'
\set password `cat "$POSTGRES_PASSWORD_FILE"`
CREATE ROLE penstock LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE penstock OWNER penstock TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE penstock FROM PUBLIC;
ALTER ROLE CURRENT_USER PASSWORD NULL;
SQL
