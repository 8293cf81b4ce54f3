/* tests/unit/onion/conn_case.h - a connection that is open on its first splice, and first flights
 * by hand: what tests of splices begin with. */
#pragma once
#include "stream_pair.h"

/* For pair.serve: streams that stay open, those that bring 1000 bytes. */
void conn_serve_nothing(struct pair *p, struct pair_end *e);
void conn_serve_1000(struct pair *p, struct pair_end *e);
/* The client's first flight; the same at the service, by any splice. */
struct onion_early conn_early_of(struct pair *p);
void conn_inject_early(struct pair *p, const struct onion_early *e, uint32_t splice);
/* Up on splice 1, with one stream. */
struct pair *conn_open_pair(struct pair_end **e);
