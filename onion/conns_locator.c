/* ATTACH: the next ONION_LOCATORS locators of every open connection, each good once; the use of one
 * ends those before it. */
#include <string.h>

#include "onion/conns_internal.h"

static struct conns__locator *place(struct conns__member *m, uint32_t j)
{
    return &m->locators[j % ONION_LOCATORS];
}

static void put(struct conns__member *m, uint32_t j)
{
    struct conns__locator *l = place(m, j);
    *l = (struct conns__locator){ .of = m, .j = j };
    onion_stream_locator(m->conn->resume, j, l->key);
    /* Without memory it isn't there: the client's next one may be. */
    l->is_in = map_put(m->home->locators, l->key, l) == 0;
}

static void drop(struct conns__member *m, uint32_t j)
{
    struct conns__locator *l = place(m, j);
    if (l->is_in)
        (void)map_del(m->home->locators, l->key);
    l->is_in = false;
}

void conns__locators_add(struct conns__member *m)
{
    for (uint32_t i = 0; i < ONION_LOCATORS; i++)
        put(m, m->next_j + i);
}

void conns__locators_remove(struct conns__member *m)
{
    for (uint32_t i = 0; i < ONION_LOCATORS; i++)
        drop(m, i);
}

struct onion_conn *conns__locator_use(struct onion_conns *h, const uint8_t *bytes, size_t len)
{
    struct conns__locator *l = len == ONION_LOCATOR ? map_get(h->locators, bytes) : NULL;
    if (l == NULL)
        return NULL;
    struct conns__member *m = l->of;
    for (uint32_t last = l->j; m->next_j <= last; m->next_j++) {
        drop(m, m->next_j);
        put(m, m->next_j + ONION_LOCATORS);
    }
    return m->conn;
}
