#!/bin/sh
# Makes or updates Temporal's two databases. Every command may run again: what exists is left as it is.
set -eu
tool() {
  database=$1
  shift
  temporal-sql-tool --plugin postgres12 --ep temporal-postgres -p 5432 -u temporal --db "$database" "$@"
}
for database in temporal temporal_visibility; do
  case $database in
    temporal) versions=/etc/temporal/schema/postgresql/v12/temporal/versioned ;;
    *) versions=/etc/temporal/schema/postgresql/v12/visibility/versioned ;;
  esac
  tool "$database" create
  # Version tables exist already after the first time, and the tool calls that an error.
  tool "$database" setup-schema -v 0.0 || echo "$database: version tables exist already"
  tool "$database" update-schema -d "$versions"
done
