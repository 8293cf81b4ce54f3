#include "onion/flights.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/env.h"
#include "base/map.h"

struct flight {
    uint64_t until_ns;
    void *conn; /* NULL: over */
};

struct onion_flights {
    struct map *by_e; /* in order of entry, which is the order of expiry */
    size_t max;
    uint64_t doubt_s, doubt_ns;
};

struct onion_flights *onion_flights_create(size_t max, uint64_t doubt_s, uint64_t now_ns)
{
    struct onion_flights *f = calloc(1, sizeof *f);
    if (f == NULL || (f->by_e = map_create(32, max)) == NULL) {
        free(f);
        return NULL;
    }
    f->max = max;
    onion_flights_doubt(f, doubt_s, now_ns);
    return f;
}

static void drop_oldest(struct onion_flights *f)
{
    const void *key;
    struct flight *oldest = map_oldest(f->by_e, &key);
    (void)map_del(f->by_e, key);
    free(oldest);
}

void onion_flights_destroy(struct onion_flights *f)
{
    if (f == NULL)
        return;
    while (map_len(f->by_e) > 0)
        drop_oldest(f);
    map_destroy(f->by_e);
    free(f);
}

void onion_flights_doubt(struct onion_flights *f, uint64_t doubt_s, uint64_t now_ns)
{
    if (doubt_s > f->doubt_s)
        f->doubt_s = doubt_s;
    f->doubt_ns = now_ns;
}

static void expire(struct onion_flights *f, uint64_t now_ns)
{
    struct flight *oldest;
    while ((oldest = map_oldest(f->by_e, NULL)) != NULL && oldest->until_ns <= now_ns)
        drop_oldest(f);
}

enum onion_flight onion_flights_find(const struct onion_flights *f, const uint8_t e[static 32],
                                     void **conn)
{
    const struct flight *known = map_get(f->by_e, e);
    if (known == NULL)
        return ONION_FLIGHT_FRESH;
    if (conn != NULL)
        *conn = known->conn;
    return ONION_FLIGHT_KNOWN;
}

static bool is_acceptable(uint64_t stamp, uint64_t net_s)
{
    if (stamp > net_s)
        return stamp - net_s <= ONION_FLIGHT_FUTURE_S;
    return net_s - stamp <= ONION_FLIGHT_PAST_S;
}

static bool is_in_doubt(const struct onion_flights *f, uint64_t stamp, uint64_t key_ns)
{
    return stamp <= f->doubt_s && key_ns <= f->doubt_ns;
}

static int put(struct onion_flights *f, const uint8_t *e, uint64_t now_ns, void *conn)
{
    struct flight *new = map_len(f->by_e) < f->max ? malloc(sizeof *new) : NULL;
    if (new == NULL)
        return CYX_EFULL;
    *new = (struct flight){ .until_ns = now_ns + ENV_S(ONION_FLIGHT_KEEP_S), .conn = conn };
    int code = map_put(f->by_e, e, new);
    if (code != 0)
        free(new);
    return code;
}

enum onion_flight onion_flights_enter(struct onion_flights *f, const uint8_t e[static 32],
                                      uint64_t stamp, uint64_t net_s, uint64_t key_ns,
                                      uint64_t now_ns, void *conn)
{
    expire(f, now_ns);
    if (map_get(f->by_e, e) != NULL)
        return ONION_FLIGHT_KNOWN;
    if (!is_acceptable(stamp, net_s))
        return ONION_FLIGHT_STALE;
    bool is_kept = put(f, e, now_ns, conn) == 0;
    return is_kept && !is_in_doubt(f, stamp, key_ns) ? ONION_FLIGHT_FRESH : ONION_FLIGHT_WAIT;
}

void onion_flights_over(struct onion_flights *f, const uint8_t e[static 32])
{
    struct flight *known = map_get(f->by_e, e);
    if (known != NULL)
        known->conn = NULL;
}

void onion_flights_forget(struct onion_flights *f, const uint8_t e[static 32])
{
    free(map_del(f->by_e, e));
}

size_t onion_flights_len(const struct onion_flights *f)
{
    return map_len(f->by_e);
}
