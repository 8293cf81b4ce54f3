/* Which way paths go: over any of a few relays, as long as the input lets them. Stands in for
 * onion/pick.c. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/endpoint_sequence/world.h"

struct onion_picker {
    struct env *env;
};

static struct {
    bool is_away, has_no_pivots, knows_none;
    uint8_t wanted;
} mood;

void relays_begin(void)
{
    memset(&mood, 0, sizeof mood);
}

void relays_mood(struct reader *in)
{
    uint8_t bits = reader_u8(in);
    mood.is_away = bits & 1;
    mood.has_no_pivots = bits & 2;
    mood.knows_none = bits & 4;
    mood.wanted = bits >> 3 & 15;
}

void relays_id(uint8_t out[static 32], unsigned which)
{
    memset(out, (int)(1 + which % RELAYS), 32);
}

struct onion_picker *onion_picker_create(struct dht *dht, struct cyx_err *err)
{
    struct onion_picker *p = calloc(1, sizeof *p);
    (void)dht;
    (void)err;
    fuzz_must(p != NULL);
    return p;
}

void onion_picker_destroy(struct onion_picker *p)
{
    free(p);
}

bool onion_picker_is_ready(struct onion_picker *p)
{
    (void)p;
    return !mood.is_away;
}

size_t onion_picker_relays(struct onion_picker *p)
{
    (void)p;
    return mood.is_away ? 0 : RELAYS;
}

size_t onion_picker_guards_up(struct onion_picker *p)
{
    (void)p;
    return !mood.is_away;
}

int onion_pick_to(struct onion_picker *p, const uint8_t last[static 32], unsigned hops,
                  const struct onion_avoid *a, struct onion_route *out, struct cyx_err *err)
{
    (void)p;
    (void)a;
    if (mood.is_away)
        return cyx_fail(err, CYX_EAGAIN, "no relays yet");
    if (mood.knows_none)
        return cyx_fail(err, CYX_ENOENT, "no record of the last hop");
    memset(out, 0, sizeof *out);
    out->n_hops = hops;
    for (unsigned i = 0; i < hops; i++)
        memset(out->hops[i].id, (int)(100 + i), 32);
    memcpy(out->hops[hops - 1].id, last, 32);
    return 0;
}

static bool is_among(const struct onion_avoid *a, const uint8_t *id)
{
    for (size_t i = 0; i < a->n; i++)
        if (memcmp(a->ids[i], id, 32) == 0)
            return true;
    return false;
}

int onion_pick_pivot(struct onion_picker *p, const struct onion_avoid *a, uint8_t id[static 32],
                     struct cyx_err *err)
{
    (void)p;
    for (unsigned i = 0; i < RELAYS && !mood.has_no_pivots; i++) {
        relays_id(id, i);
        if (!is_among(a, id))
            return 0;
    }
    return cyx_fail(err, CYX_ENOENT, "none is left");
}

size_t onion_pick_pivots_wanted(struct onion_picker *p, size_t want)
{
    size_t n = mood.wanted != 0 ? mood.wanted : want != 0 ? want : ONION_PIVOTS;
    (void)p;
    return n < ONION_PIVOTS_MAX ? n : ONION_PIVOTS_MAX;
}

void onion_picker_built(struct onion_picker *p, const struct onion_route *route,
                        const struct onion_path_built *b)
{
    (void)p;
    fuzz_must(route->n_hops > 0 && (b->code != CYX_EREFUSED || b->hop < route->n_hops));
}

void onion_picker_link_down(struct onion_picker *p, const struct mesh_link *l)
{
    (void)p;
    (void)l;
}

void onion_picker_doubt(struct onion_picker *p, const struct onion_route *route)
{
    (void)p;
    fuzz_must(route->n_hops > 0);
}

void onion_picker_ended(struct onion_picker *p, const struct onion_route *route,
                        enum onion_path_end why)
{
    (void)p;
    fuzz_must(route->n_hops > 0 && why <= ONION_PATH_OLD);
}

void onion_picker_not_opened(struct onion_picker *p, const struct onion_route *route, int code)
{
    (void)p;
    fuzz_must(route->n_hops > 0 && code != 0);
}

void onion_picker_link_up(struct onion_picker *p, const struct mesh_link *l)
{
    (void)p;
    (void)l;
}
