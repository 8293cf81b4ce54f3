#include "onion/cell.h"

#include <sodium.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"

enum { ZEROS = 16 };

void onion_cell_write(uint8_t out[static MESH_CELL], const struct onion_cell *c, uint64_t counter)
{
    struct writer w = writer_on(out, MESH_CELL);
    writer_zero(&w, ZEROS);
    writer_u64(&w, counter);
    writer_u32(&w, c->splice);
    writer_u8(&w, c->command);
    writer_u8(&w, c->kind);
    writer_u16(&w, (uint16_t)c->len);
    if (c->len > 0)
        writer_copy(&w, c->payload, c->len);
    writer_zero(&w, ONION_PAYLOAD - c->len);
}

void onion_cell_number(uint8_t cell[static MESH_CELL], uint64_t counter)
{
    struct writer w = writer_on(cell + ZEROS, sizeof counter);
    writer_u64(&w, counter);
}

/* Is it new? Marks nothing. Counters that fell out of the window are taken for old. */
static bool window_is_new(const struct onion_window *w, uint64_t counter)
{
    if (counter >= w->top)
        return true;
    if (w->top - counter > ONION_COUNTER_WINDOW)
        return false;
    size_t bit = counter % ONION_COUNTER_WINDOW;
    return (w->seen[bit / 64] >> (bit % 64) & 1) == 0;
}

static void window_note(struct onion_window *w, uint64_t counter)
{
    size_t bit = counter % ONION_COUNTER_WINDOW;
    if (counter >= w->top + ONION_COUNTER_WINDOW)
        memset(w->seen, 0, sizeof w->seen);
    else
        for (uint64_t c = w->top; c < counter; c++)
            w->seen[c % ONION_COUNTER_WINDOW / 64] &= ~(UINT64_C(1) << (c % 64));
    w->seen[bit / 64] |= UINT64_C(1) << (bit % 64);
    if (counter >= w->top)
        w->top = counter + 1;
}

enum drop onion_cell_read(struct onion_cell *out, struct onion_window *w,
                          const uint8_t cell[static MESH_CELL])
{
    struct reader r = reader_on(cell, MESH_CELL);
    struct onion_cell c = { 0 };
    /* The zeros are what a forger has to hit: compared whole, whatever they are. */
    if (!sodium_is_zero(reader_bytes(&r, ZEROS), ZEROS))
        return DROP_AUTH;
    uint64_t counter = reader_u64(&r);
    c.splice = reader_u32(&r);
    c.command = reader_u8(&r);
    c.kind = reader_u8(&r);
    c.len = reader_u16(&r);
    if (c.len > ONION_PAYLOAD || counter == UINT64_MAX)
        return DROP_AUTH;
    c.payload = reader_bytes(&r, c.len);
    if (!window_is_new(w, counter)) {
        w->repeat = counter;
        return DROP_REPLAY;
    }
    window_note(w, counter);
    *out = c;
    return DROP_NONE;
}

void onion_terms_write(uint8_t out[static ONION_TERMS], const struct onion_terms *t)
{
    struct writer w = writer_on(out, ONION_TERMS);
    writer_u16(&w, t->rate);
    writer_u16(&w, t->burst);
    writer_u16(&w, t->most_open);
    writer_zero(&w, 2);
    writer_u32(&w, t->least_effort);
    writer_copy(&w, t->seed, sizeof t->seed);
}

void onion_terms_read(struct onion_terms *out, const uint8_t in[static ONION_TERMS])
{
    struct reader r = reader_on(in, ONION_TERMS);
    out->rate = reader_u16(&r);
    out->burst = reader_u16(&r);
    out->most_open = reader_u16(&r);
    reader_skip(&r, 2);
    out->least_effort = reader_u32(&r);
    reader_copy(&r, out->seed, sizeof out->seed);
}

void onion_stats_write(uint8_t out[static ONION_STATS], const struct onion_stats *s)
{
    struct writer w = writer_on(out, ONION_STATS);
    writer_u64(&w, s->sent);
    writer_u64(&w, s->recognised);
    writer_u64(&w, s->unrecognised);
    writer_u32(&w, s->effort);
    writer_u32(&w, s->wants_answer ? 1 : 0);
}

enum drop onion_stats_read(struct onion_stats *out, const uint8_t *in, size_t len)
{
    struct reader r = reader_on(in, len);
    struct onion_stats s;
    s.sent = reader_u64(&r);
    s.recognised = reader_u64(&r);
    s.unrecognised = reader_u64(&r);
    s.effort = reader_u32(&r);
    s.wants_answer = (reader_u32(&r) & 1) != 0;
    if (r.bad || !reader_done(&r))
        return DROP_SHORT;
    *out = s;
    return DROP_NONE;
}
