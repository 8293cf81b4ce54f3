/* onion/pivot.h - where clients meet services: registrations under tokens, splices of clients'
 * paths to them, and the price of a splice. Part of a relay. Spec: protocol.md, sections 11 and 13.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metric.h"
#include "onion/train.h"

struct onion_pivot;
struct onion_path;
struct onion_relay;

/* NULL: no memory. */
struct onion_pivot *onion__pivot_create(struct onion_relay *r);
/* After all paths are gone. */
void onion__pivot_destroy(struct onion_pivot *v);

/* A build for us: `p` is BUILDING and ends, or is refused, here. `early` borrows the train: its
 * first f->early_len bytes are the early payload. */
void onion__pivot_register(struct onion_pivot *v, struct onion_path *p,
                           const struct onion_fields *f);
void onion__pivot_splice(struct onion_pivot *v, struct onion_path *p, const struct onion_fields *f,
                         const uint8_t early[static ONION_TRAIN]);

struct onion_relay_stats;
/* Its part of them. */
void onion__pivot_stats(const struct onion_pivot *v, struct onion_relay_stats *out);
void onion__pivot_metrics(const struct onion_pivot *v, const struct metric_out *o);
bool onion__pivot_check(const struct onion_pivot *v);
