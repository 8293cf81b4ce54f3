/* onion/end.h - the last hop that looks up and stores for whoever is at the other end of a path:
 * FIND, STORE, DIGEST, LIST and RECORDS, run as this node's own. Part of a relay. Spec:
 * protocol.md, sections 10 ("At END") and 16. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/metric.h"
#include "onion/train.h"

struct onion_end;
struct relay_path;
struct onion_relay;
struct onion_tail;

/* NULL: no memory. */
struct onion_end *end__create(struct onion_relay *r);
/* After all paths are gone. What was asked of the DHT and can't be taken back ends by itself. */
void end__destroy(struct onion_end *e);

/* ONION_OK with a tail for the path; ONION_UNSUPPORTED: there is no DHT to ask; ONION_BUSY: no
 * memory. */
enum onion_status end__open(struct onion_end *e, struct relay_path *p, struct onion_tail **out);

size_t end__asks(const struct onion_end *e); /* under way */
void end__metrics(const struct onion_end *e, const struct metric_out *o);
bool end__check(const struct onion_end *e);
