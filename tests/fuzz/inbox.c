/* Sequences of fragments, polls, repeats, moves of prefix and RESENDs against inboxes, an outbox
 * and a virtual clock. After every step all sums are recomputed from the messages and compared. Two
 * bytes a step say what happens; fragments carry no bytes of the input, so that a short input goes
 * far. */
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"
#include "mesh/msg.h"
#include "mesh/msg_internal.h"

enum { LINKS = 3, POOL_BYTES = 400000, STEPS_MAX = 4000 };

struct run {
    struct mesh_inbox_pool *pool;
    struct mesh_inbox *in[LINKS];
    struct mesh_outbox *out;
    uint64_t now_ns, rtt_ns;
};

static uint8_t bytes[MESH_MSG_MAX + MESH_MSG_FRAGMENT];

/* Aborts in every build. */
static void must(bool fact)
{
    if (!fact)
        abort();
}

static void take(struct run *r, struct mesh_inbox *in, const struct mesh_frame_msg *f)
{
    struct mesh_message got = { .data = NULL };
    uint64_t lost = mesh_inbox_lost(in);
    enum drop d = mesh_inbox_fragment(in, f, r->now_ns, r->rtt_ns, &got);
    must(d == DROP_NONE || got.data == NULL);
    must(d != DROP_REPLAY || mesh_inbox_lost(in) == lost);
    if (got.data != NULL) {
        must(got.len > 0 && got.len <= MESH_MSG_MAX && got.kind == f->kind && got.id == f->id);
        must((got.len + MESH_MSG_FRAGMENT - 1) / MESH_MSG_FRAGMENT == f->count);
        must(memcmp(got.data, bytes, got.len) == 0); /* every fragment in its place */
    }
    free(got.data);
}

static void on_resend(void *arg, const struct mesh_frame_resend *ask)
{
    struct run *r = arg;
    must(!msg__none(ask->missing));
    (void)mesh_outbox_resend(r->out, ask); /* any answer; the sums are what counts */
}

/* A fragment of message `id` with `count` fragments; odd ids end with a short one. */
static struct mesh_frame_msg fragment_of(uint8_t id, uint8_t index, uint8_t count)
{
    struct mesh_frame_msg f = {
        .kind = (uint8_t)(1 + id % 2), .id = id, .index = index, .count = count
    };
    bool is_last = index + 1 == count;
    f.len = is_last ? (uint16_t)(1 + id * 5u) : MESH_MSG_FRAGMENT;
    f.data = bytes + (index < 51 ? index * (size_t)MESH_MSG_FRAGMENT : 0u);
    return f;
}

static void step_fragment(struct run *r, struct reader *in, uint8_t arg)
{
    uint8_t id = reader_u8(in), index = reader_u8(in), count = reader_u8(in);
    struct mesh_frame_msg f = fragment_of(id, index, count);
    take(r, r->in[arg % LINKS], &f);
}

/* All fragments of a message but those that the mask leaves out. */
static void step_message(struct run *r, struct reader *in, uint8_t arg)
{
    uint8_t id = reader_u8(in), count = reader_u8(in) % 52, mask = reader_u8(in);
    for (uint8_t i = 0; i < count; i++) {
        struct mesh_frame_msg f = fragment_of(id, i, count);
        if ((mask >> i % 8 & 1) != 0)
            take(r, r->in[arg % LINKS], &f);
    }
}

static void step_raw(struct run *r, struct reader *in, uint8_t arg)
{
    struct mesh_frame_msg f = { .kind = reader_u8(in), .id = reader_u8(in) };
    f.index = reader_u8(in);
    f.count = reader_u8(in);
    f.len = reader_u16(in) % (sizeof bytes / 2);
    f.data = bytes + (f.index < 51 ? f.index * (size_t)MESH_MSG_FRAGMENT : 0u);
    struct mesh_message got = { .data = NULL };
    (void)mesh_inbox_fragment(r->in[arg % LINKS], &f, r->now_ns, r->rtt_ns, &got);
    free(got.data);
}

static void step_add(struct run *r, struct reader *in, uint8_t arg)
{
    uint16_t len = reader_u16(in);
    int code = mesh_outbox_add(r->out, 1, arg, bytes, (size_t)len + 1, r->now_ns);
    must(code == 0 || code == CYX_EFULL);
}

static void step_send(struct run *r, uint8_t arg)
{
    struct mesh_frame_msg f;
    for (unsigned n = arg; n > 0; n--) {
        size_t len = mesh_outbox_peek(r->out);
        bool is_any = mesh_outbox_next(r->out, r->now_ns, &f);
        must(is_any == (len > 0));
        if (!is_any)
            return;
        must(f.len == len && f.index < f.count);
        must(memcmp(f.data, bytes + (size_t)f.index * MESH_MSG_FRAGMENT, f.len) == 0);
        if (n % 4 != 0) /* a quarter is lost on the way */
            take(r, r->in[0], &f);
    }
}

static void step_ask(struct run *r, struct reader *in, uint8_t arg)
{
    struct mesh_frame_resend ask = { .kind = 1, .id = arg };
    reader_copy(in, ask.missing, 1 + arg % sizeof ask.missing);
    (void)mesh_outbox_resend(r->out, &ask);
}

static void step_poll(struct run *r, uint8_t arg)
{
    uint64_t next = mesh_inbox_poll(r->in[arg % LINKS], r->now_ns, r->rtt_ns, on_resend, r);
    must(next > r->now_ns);
    must((next == UINT64_MAX) == (mesh_inbox_count(r->in[arg % LINKS]) == 0));
    must(mesh_outbox_expire(r->out, r->now_ns) > r->now_ns);
}

static void step_new_inbox(struct run *r, uint8_t arg)
{
    mesh_inbox_destroy(r->in[arg % LINKS]);
    r->in[arg % LINKS] = mesh_inbox_create(r->pool, MESH_MSG_FRAGMENT, arg % 4);
    must(r->in[arg % LINKS] != NULL);
}

static void step(struct run *r, struct reader *in)
{
    uint8_t what = reader_u8(in), arg = reader_u8(in);
    switch (what % 11) {
    case 0:
        step_fragment(r, in, arg);
        break;
    case 1:
        step_message(r, in, arg);
        break;
    case 2:
        step_raw(r, in, arg);
        break;
    case 3:
        step_add(r, in, arg);
        break;
    case 4:
        step_send(r, arg);
        break;
    case 5:
        step_ask(r, in, arg);
        break;
    case 6:
        step_poll(r, arg);
        break;
    case 7:
        mesh_inbox_set_prefix(r->in[arg % LINKS], arg / LINKS % 4);
        break;
    case 8:
        r->now_ns += MSG_MS(arg) * (what >= 128 ? 50u : 1u);
        r->rtt_ns = MSG_MS(what);
        break;
    case 9:
        mesh_outbox_cancel(r->out, 1, arg);
        break;
    case 10:
        step_new_inbox(r, arg);
        break;
    }
}

static void check(const struct run *r)
{
    size_t sum = 0;
    for (unsigned k = 0; k < LINKS; k++) {
        must(msg__inbox_is_sound(r->in[k]));
        sum += mesh_inbox_bytes(r->in[k]);
    }
    must(sum == mesh_inbox_pool_bytes(r->pool));
    must(msg__pool_is_sound(r->pool));
    must(msg__outbox_is_sound(r->out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (bytes[1] == 0)
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(1 + i * 7 + i / MESH_MSG_FRAGMENT);
    struct run r = { .pool = mesh_inbox_pool_create(POOL_BYTES),
                     .out = mesh_outbox_create(MESH_MSG_FRAGMENT) };
    must(r.pool != NULL && r.out != NULL);
    for (uint8_t k = 0; k < LINKS; k++)
        step_new_inbox(&r, k);
    struct reader in = reader_on(data, len);
    for (unsigned n = 0; n < STEPS_MAX && reader_left(&in) > 0; n++) {
        step(&r, &in);
        check(&r);
    }
    for (unsigned k = 0; k < LINKS; k++)
        mesh_inbox_destroy(r.in[k]);
    must(mesh_inbox_pool_bytes(r.pool) == 0);
    mesh_inbox_pool_destroy(r.pool);
    mesh_outbox_destroy(r.out);
    return 0;
}
