/* onion/flights.h - a service's memory of first flights: message 1's ephemeral keys, for as long as
 * their stamps are acceptable, each with the connection it started. A pivot that repeats a first
 * flight never starts a second connection, dead or alive, so early data is processed at most once.
 * Pure: time comes in. Spec: protocol.md, section 14, "Replay of first flights". */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct onion_flights;

enum {
    ONION_FLIGHTS = 1 << 17,
    ONION_FLIGHT_PAST_S = 360, /* section 8's window of stamps, */
    ONION_FLIGHT_FUTURE_S = 60,
    /* So a flight is acceptable for 420 s of network time at most. That may stand still for 60 s
     * while ours goes on (section 1), and is cut to seconds. */
    ONION_FLIGHT_KEEP_S = 420 + 60 + 2,
};

enum onion_flight {
    ONION_FLIGHT_FRESH = 0,
    ONION_FLIGHT_WAIT,  /* fresh as far as we know, but we may have forgotten: its early data waits
                           for message 3 */
    ONION_FLIGHT_KNOWN, /* seen before */
    ONION_FLIGHT_STALE, /* its stamp is outside the window: no answer */
};

/* max: ONION_FLIGHTS unless a test wants less. At start nothing is remembered, so it begins in
 * doubt (below) about keys drawn before `now_ns` for stamps up to `doubt_s`: the greatest network
 * time ever used, or now if later, plus ONION_FLIGHT_FUTURE_S. NULL: no memory. */
struct onion_flights *onion_flights_create(size_t max, uint64_t doubt_s, uint64_t now_ns);
void onion_flights_destroy(struct onion_flights *f); /* NULL is fine */

/* Network time went back: flights that were forgotten may pass for fresh, up to stamp doubt_s, for
 * keys drawn before now. */
void onion_flights_doubt(struct onion_flights *f, uint64_t doubt_s, uint64_t now_ns);

/* Was e seen? Asked before any public-key work. *conn (may be NULL) gets what it started: NULL when
 * that is over. */
enum onion_flight onion_flights_find(const struct onion_flights *f, const uint8_t e[static 32],
                                     void **conn);
/* Message 1 opened: may it start a connection, and how? FRESH and WAIT enter e, unless the cache is
 * full, which is WAIT (then a copy of it would start a second connection, but one whose early data
 * waits too). net_s: network time; key_ns: when the service key was drawn on our monotonic clock, 0
 * for one older than this process. */
enum onion_flight onion_flights_enter(struct onion_flights *f, const uint8_t e[static 32],
                                      uint64_t stamp, uint64_t net_s, uint64_t key_ns,
                                      uint64_t now_ns, void *conn);
/* The connection is over; its key stays known. */
void onion_flights_over(struct onion_flights *f, const uint8_t e[static 32]);
/* Nothing came of it: it may start a connection another time. */
void onion_flights_forget(struct onion_flights *f, const uint8_t e[static 32]);
size_t onion_flights_len(const struct onion_flights *f);
