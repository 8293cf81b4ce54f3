/* mesh/nettime.h - network time: the median of what peers said against our own clock. Pure: clocks
 * come in. Spec: protocol.md, section 1, "Network time".
 *
 * What peers said is tied to the monotonic clock, so a jump of our own clock moves none of it.
 * Which clock counts:
 * - Peers have an opinion when three or more gave their time (the median, preferred peers twice),
 * or one or two that agree within 30 s. It is within 30 s of our clock: ours is used (OWN).
 * Further: theirs (MEDIAN; warn). If that is more than a day from our clock, or from what the user
 * took last, network time goes on as it was and waits for the user's word (REFUSED): steps of less
 * than a day don't add up.
 * - Our clock jumps by more than 30 s while in use: network time goes on from before the jump on
 * the monotonic clock, `is_held` is set. With an opinion the first rule then finds who is right;
 *   without one it stays so (UNCHECKED, offset_ms != 0) until the clock jumps back, peers speak, or
 *   the user's word takes the clock as it is. A jump of up to 30 s is followed.
 * - Our clock was behind T at start (UNSET): network time counts on from T. Peers or our own clock,
 *   once set, may move it forward by any amount, and back never: it stands still until theirs
 *   reaches it, or the user's word makes it theirs.
 * When peers leave, what was decided stays. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/mesh.h"

enum { NETTIME_SAMPLES = 32 }; /* enough for a median that a few liars can't move */

/* Later than any true clock (year 9999): a peer's greater claim is not a time. */
#define NETTIME_MAX_S 253402300799u

struct nettime {
    struct {
        int64_t offset_ms; /* the peer's time minus our wall clock as it is now */
        uint64_t at_ns;
        uint8_t weight;  /* bootstrap peers and guards 2, others 1 */
        uint8_t from[8]; /* a peer counts once: first bytes of its link key */
    } samples[NETTIME_SAMPLES];
    size_t n;
    bool has_median; /* of the samples, as they are: time is asked for far more often than told */
    int64_t median_ms;
    int64_t wall_ms; /* our clock at the last look, and the monotonic time then: to see steps */
    uint64_t mono_ns;
    uint64_t greatest_s; /* T: greatest network time ever used */
    uint64_t last_s;     /* last value given out: does not run backwards by up to 60 s */
    bool user_accepts;   /* for the next look */
    bool is_own;         /* our own clock is in use: offset_ms is 0 */
    bool is_held;        /* it jumped, and network time did not */
    bool is_unset;       /* our clock was behind T at start: may only go forward */
    enum mesh_time_state state;
    int64_t offset_ms;  /* in use: network time minus our clock */
    int64_t vouched_ms; /* the same as our clock or the user last vouched for it */
    uint64_t jumps;     /* of our clock, by more than 30 s either way */
    uint64_t
        back_steps; /* times that network time went back by more than 60 s (section 8's rules) */
};

/* greatest_s: T from disk, 0 if there is none. */
void nettime_init(struct nettime *t, uint64_t greatest_s, int64_t wall_ms, uint64_t now_ns);
/* A peer said its time (seconds, rounded to 10). At the bound the oldest sample goes, a preferred
 * peer's only for another preferred one: strangers can't push bootstrap peers out. */
void nettime_heard(struct nettime *t, const uint8_t from[static 8], bool is_preferred,
                   uint64_t peer_s, int64_t wall_ms, uint64_t now_ns);
void nettime_forget(struct nettime *t, const uint8_t from[static 8]); /* its link ended */
/* Network time now, unix seconds; updates state. It goes back by more than 60 s only when peers or
 * the user say so (back_steps counts), and stands still instead of going back by less. Call it at
 * least every few minutes: drift between two looks passes for a jump. */
uint64_t nettime_now(struct nettime *t, int64_t wall_ms, uint64_t now_ns);
/* The user's word, for the next look: take the peers' opinion, however far it is; without one, our
 * own clock. T (greatest_s) follows, back too. Means nothing while no such step waits. */
void nettime_accept(struct nettime *t);
