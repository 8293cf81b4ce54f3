/* dht/send.c - STOREs of our own upkeep (repair, handing on, replication): a bounded number at a
 * time, best effort. What is lost is sent again by the next round. */
#include <stdlib.h>

#include "base/mp.h"
#include "dht/dht_internal.h"

struct dht__send {
    struct list node;
    struct dht *d;
    struct mesh_contact to;
    struct mesh_ask *ask;
    size_t len;
    uint8_t record[];
};

static void pump(struct dht *d);

struct mesh_items dht__store_items(uint8_t *buf, const uint8_t *record, size_t len)
{
    msgpack_packer pk;
    struct writer w = writer_on(buf, len + 8);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, record, len);
    return (struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 };
}

static void send_end(struct dht__send *s)
{
    list_del(&s->node);
    s->d->n_sends--;
    free(s);
}

static void sent(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct dht__send *s = arg;
    struct dht *d = s->d;
    uint8_t id[DHT_ID];
    bool has_failed = code == CYX_ETIMEDOUT || code == CYX_ECLOSED;
    (void)items;
    (void)n;
    memcpy(id, s->to.id, sizeof id);
    send_end(s);
    if (code != 0 || (status != MESH_RPC_OK && status != MESH_RPC_STALE))
        d->n.sends_failed++;
    if (has_failed)
        dht__failed(d, id);
    pump(d);
}

static void start(struct dht *d, struct dht__send *s)
{
    uint8_t buf[MESH_RECORD_MAX + 8];
    struct mesh_items items = dht__store_items(buf, s->record, s->len);
    list_del(&s->node);
    list_push_back(&d->sends, &s->node);
    d->n_sends_waiting--;
    d->n_sends++;
    d->n.sends++;
    if (mesh_ask(d->mesh, &s->to, MESH_METHOD_STORE, &items, DHT_ASK_MS, sent, s, &s->ask) == 0)
        return;
    d->n.sends_failed++;
    send_end(s);
}

static void pump(struct dht *d)
{
    while (d->is_started && d->n_sends < DHT_SENDS && !list_empty(&d->sends_waiting))
        start(d, container_of(d->sends_waiting.next, struct dht__send, node));
}

void dht__send(struct dht *d, const struct mesh_contact *to, const uint8_t *record, size_t len)
{
    if (d->n_sends_waiting >= DHT__SENDS_WAITING || !d->is_started) {
        d->n.sends_dropped++;
        return;
    }
    struct dht__send *s = malloc(sizeof *s + len);
    if (s == NULL) {
        d->n.sends_dropped++;
        return;
    }
    *s = (struct dht__send){ .d = d, .to = *to, .len = len };
    memcpy(s->record, record, len);
    list_init(&s->node);
    list_push_back(&d->sends_waiting, &s->node);
    d->n_sends_waiting++;
    pump(d);
}

void dht__sends_end(struct dht *d)
{
    while (!list_empty(&d->sends_waiting)) {
        struct dht__send *s = container_of(d->sends_waiting.next, struct dht__send, node);
        list_del(&s->node);
        free(s);
    }
    d->n_sends_waiting = 0;
    while (!list_empty(&d->sends)) {
        struct dht__send *s = container_of(d->sends.next, struct dht__send, node);
        mesh_ask_cancel(s->ask);
        send_end(s);
    }
}
