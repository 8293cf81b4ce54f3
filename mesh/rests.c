/* mesh/rests.c - addresses that did not answer rest for a while, so that nobody's record makes us
 * knock at one place again and again. Spec: protocol.md, section 3, "Retries". */
#include <stdlib.h>
#include <string.h>

#include "mesh/mesh_internal.h"

enum { PLACE = 18 };

struct rest {
    struct list by_age;
    uint8_t place[PLACE];
    uint64_t until_ns;
};

struct mesh__rests {
    struct map *map;
    struct list by_age;
};

static void place_of(uint8_t place[static PLACE], const struct env_addr *a)
{
    struct writer w = writer_on(place, PLACE);
    writer_copy(&w, a->ip, sizeof a->ip);
    writer_u16(&w, a->port);
}

struct mesh__rests *mesh__rests_create(void)
{
    struct mesh__rests *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    list_init(&r->by_age);
    r->map = map_create(PLACE, MESH__REST_MAX);
    if (r->map == NULL) {
        free(r);
        return NULL;
    }
    return r;
}

static void forget(struct mesh__rests *r, struct rest *e)
{
    map_del(r->map, e->place);
    list_del(&e->by_age);
    free(e);
}

void mesh__rests_destroy(struct mesh__rests *r)
{
    if (r == NULL)
        return;
    while (!list_empty(&r->by_age))
        forget(r, container_of(r->by_age.next, struct rest, by_age));
    map_destroy(r->map);
    free(r);
}

void mesh__rest_add(struct mesh__rests *r, const struct env_addr *a, uint64_t now_ns)
{
    uint8_t place[PLACE];
    place_of(place, a);
    struct rest *e = map_get(r->map, place);
    if (e != NULL)
        forget(r, e);
    else if (map_len(r->map) >= MESH__REST_MAX)
        forget(r, container_of(r->by_age.next, struct rest, by_age));
    e = calloc(1, sizeof *e);
    if (e == NULL)
        return;
    list_init(&e->by_age);
    memcpy(e->place, place, sizeof place);
    e->until_ns = now_ns + ENV_MS(MESH_ADDR_REST_MS);
    if (map_put(r->map, place, e) != 0) {
        free(e);
        return;
    }
    list_push_back(&r->by_age, &e->by_age);
}

bool mesh__rest_is_on(const struct mesh__rests *r, const struct env_addr *a, uint64_t now_ns)
{
    uint8_t place[PLACE];
    place_of(place, a);
    const struct rest *e = map_get(r->map, place);
    return e != NULL && e->until_ns > now_ns;
}
