#pragma once

// The database's clock, as its tables have times: nanoseconds since 1970. A part of a statement.
#define PG_NOW "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"
