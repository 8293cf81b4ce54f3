/* node/methods_dht_internal.h - what methods_dht.c (finding) and methods_dht_put.c (publishing)
 * share. */
#pragma once
#include "base/drop.h"
#include "dht/dht.h"
#include "node/methods.h"

enum { DHT_PROGRESS_MS = 1000 };

/* False after an error reply: the DHT isn't running, or this node is not listed and `direct` wasn't
 * said. */
bool node__dht_may_ask(struct node *n, struct node_call *call, const msgpack_object *params);
/* Why stores would not take a record, in words. */
const char *node__dht_why(enum drop d);
/* A progress notification: {stage, seconds}. */
void node__dht_progress(struct node *n, struct node_call *call, const char *stage,
                        uint64_t began_ns);
