#include "onion/messages.h"

#include <string.h>

#include "base/reader.h"
#include "base/writer.h"

enum { MSG_HEAD = 9, RESEND_LEN = 21 };
_Static_assert(MSG_HEAD + ONION_MSG_FRAGMENT == ONION_PAYLOAD, "a fragment fills a cell");

int onion_messages_init(struct onion_messages *m, struct mesh_inbox_pool *pool, uint64_t prefix)
{
    m->outbox = mesh_outbox_create(ONION_MSG_FRAGMENT);
    m->inbox = mesh_inbox_create(pool, ONION_MSG_FRAGMENT, prefix);
    if (m->outbox != NULL && m->inbox != NULL)
        return 0;
    onion_messages_fini(m);
    return CYX_ENOMEM;
}

void onion_messages_fini(struct onion_messages *m)
{
    mesh_outbox_destroy(m->outbox);
    mesh_inbox_destroy(m->inbox);
    *m = (struct onion_messages){ NULL, NULL };
}

int onion_messages_add(struct onion_messages *m, uint8_t kind, uint32_t id, const uint8_t *data,
                       size_t len, uint64_t now_ns)
{
    return mesh_outbox_add(m->outbox, kind, id, data, len, now_ns);
}

/* ---- in ---------------------------------------------------------------------------------------
 */

static enum drop msg_read(struct mesh_frame_msg *out, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    struct mesh_frame_msg f = { .kind = reader_u8(&r) };
    f.id = reader_u32(&r);
    f.index = reader_u8(&r);
    f.count = reader_u8(&r);
    f.len = reader_u16(&r);
    f.data = reader_bytes(&r, f.len);
    if (r.bad)
        return DROP_SHORT;
    bool is_last = f.index + 1 == f.count;
    if (!reader_done(&r) || f.count == 0 || f.index >= f.count ||
        (!is_last && f.len != ONION_MSG_FRAGMENT) || f.len == 0)
        return DROP_FIELD;
    if (f.kind != MESH_MSG_REQUEST && f.kind != MESH_MSG_RESPONSE)
        return DROP_TYPE;
    *out = f;
    return DROP_NONE;
}

static enum drop resend_read(struct mesh_frame_resend *out, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    struct mesh_frame_resend f = { .kind = reader_u8(&r) };
    f.id = reader_u32(&r);
    reader_copy(&r, f.missing, sizeof f.missing);
    if (r.bad || !reader_done(&r))
        return DROP_SHORT;
    *out = f;
    return DROP_NONE;
}

enum drop onion_messages_heard(struct onion_messages *m, const struct onion_cell *c,
                               uint64_t now_ns, uint64_t rtt_ns, struct mesh_message *out)
{
    struct mesh_frame_msg msg;
    struct mesh_frame_resend resend;
    enum drop drop;
    *out = (struct mesh_message){ .data = NULL };
    if (c->command == ONION_CELL_RESEND) {
        drop = resend_read(&resend, c);
        return drop == DROP_NONE ? mesh_outbox_resend(m->outbox, &resend) : drop;
    }
    drop = msg_read(&msg, c);
    return drop == DROP_NONE ? mesh_inbox_fragment(m->inbox, &msg, now_ns, rtt_ns, out) : drop;
}

/* ---- out --------------------------------------------------------------------------------------
 */

struct sending {
    onion_messages_send_fn send;
    void *arg;
};

static void send_resend(void *arg, const struct mesh_frame_resend *f)
{
    const struct sending *s = arg;
    uint8_t payload[RESEND_LEN];
    struct writer w = writer_on(payload, sizeof payload);
    writer_u8(&w, f->kind);
    writer_u32(&w, f->id);
    writer_copy(&w, f->missing, sizeof f->missing);
    (void)s->send(s->arg, &(struct onion_cell){ .command = ONION_CELL_RESEND,
                                                .payload = payload,
                                                .len = sizeof payload });
}

static bool send_fragment(const struct sending *s, const struct mesh_frame_msg *f)
{
    uint8_t payload[ONION_PAYLOAD];
    struct writer w = writer_on(payload, sizeof payload);
    writer_u8(&w, f->kind);
    writer_u32(&w, f->id);
    writer_u8(&w, f->index);
    writer_u8(&w, f->count);
    writer_u16(&w, f->len);
    writer_copy(&w, f->data, f->len);
    return s->send(s->arg, &(struct onion_cell){ .command = ONION_CELL_MSG,
                                                 .payload = payload,
                                                 .len = writer_len(&w) });
}

/* A fragment that found no room is lost like one on the way: the other end asks for it. */
uint64_t onion_messages_pump(struct onion_messages *m, uint64_t now_ns, uint64_t rtt_ns,
                             onion_messages_send_fn send, void *arg)
{
    struct sending s = { send, arg };
    struct mesh_frame_msg f;
    uint64_t out = mesh_outbox_expire(m->outbox, now_ns);
    while (mesh_outbox_peek(m->outbox) > 0 && mesh_outbox_next(m->outbox, now_ns, &f))
        if (!send_fragment(&s, &f))
            break;
    uint64_t in = mesh_inbox_poll(m->inbox, now_ns, rtt_ns, send_resend, &s);
    return in < out ? in : out;
}
