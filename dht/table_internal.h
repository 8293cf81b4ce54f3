/* dht/table_internal.h - for the tests of what holds the table. */
#pragma once
#include "dht/table.h"

/* Recomputes every count and bound; false: they don't hold. */
bool table__check(const struct dht_table *t);
