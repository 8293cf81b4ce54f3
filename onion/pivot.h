/* onion/pivot.h - where clients meet services: registrations under tokens, splices of clients'
 * paths to them, and the price of a splice. Part of a relay. Spec: protocol.md, sections 11 and 13.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "onion/train.h"

struct onion_pivots;
struct relay_path;
struct onion_relay;

/* NULL: no memory. */
struct onion_pivots *pivot__create(struct onion_relay *r);
/* After all paths are gone. */
void pivot__destroy(struct onion_pivots *v);

/* A build for us: `p` is BUILDING and ends, or is refused, here. `early` borrows the train: its
 * first f->early_len bytes are the early payload. */
void pivot__register(struct onion_pivots *v, struct relay_path *p, const struct onion_fields *f);
void pivot__splice(struct onion_pivots *v, struct relay_path *p, const struct onion_fields *f,
                   const uint8_t early[static ONION_TRAIN]);

struct onion_relay_stats;
/* Its part of them. */
void pivot__stats(const struct onion_pivots *v, struct onion_relay_stats *out);
void pivot__metrics(const struct onion_pivots *v, const struct metric_out *o);
bool pivot__check(const struct onion_pivots *v);
