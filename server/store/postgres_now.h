#pragma once

// A part of a statement: the database's clock in the unit of its tables, nanoseconds since 1970.
#define PG_NOW "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"
