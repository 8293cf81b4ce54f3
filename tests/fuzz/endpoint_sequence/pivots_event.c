/* What the input does to paths and over them. */
#include <string.h>

#include "tests/fuzz/endpoint_sequence/pivots_internal.h"

static void stats(struct onion_path *p, struct reader *in)
{
    struct onion_stats s = { .sent = reader_u8(in),
                             .recognised = reader_u8(in),
                             .effort = reader_u32(in) };
    if (p->events->stats != NULL)
        p->events->stats(p->arg, &s);
}

void pivots_event(const struct onion_paths *home, struct reader *in)
{
    uint8_t which = reader_u8(in), what = reader_u8(in);
    struct onion_path *p = pivots__nth(home, which);
    if (p == NULL)
        return;
    if (p->state != OPEN && what & 1)
        pivots__failed(p, &(struct onion_path_built){ .code = CYX_ECLOSED });
    else if (p->state != OPEN)
        env_timer_in(mesh_env(home->mesh), &p->timer, 0);
    else if (what < 0x80)
        pivots__ended(p, (enum onion_path_end)(what % (ONION_PATH_OLD + 1)));
    else if ((what & 3) == 0 && p->events->old != NULL)
        p->events->old(p->arg);
    else if ((what & 3) == 1 && p->events->writable != NULL)
        p->events->writable(p->arg);
    else if ((what & 3) == 2)
        stats(p, in);
}

/* A cell of any kind, as a pivot could make it. */
void pivots_inject(const struct onion_paths *home, struct reader *in)
{
    struct onion_path *p = pivots__nth(home, reader_u8(in));
    struct onion_cell c = { .command = reader_u8(in) % 8, .kind = reader_u8(in) };
    uint8_t splice = reader_u8(in), payload[ONION_PAYLOAD] = { 0 };
    c.splice = splice < 0xf0 ? splice : UINT32_MAX - splice;
    c.len = reader_u16(in) % (ONION_PAYLOAD + 1);
    reader_copy(in, payload, c.len < reader_left(in) ? c.len : reader_left(in));
    c.payload = payload;
    if (p != NULL)
        pivots__hand(p, &c);
}

/* One that travelled, changed or not, to any path and splice. */
void pivots_again(const struct onion_paths *home, struct reader *in)
{
    struct onion_path *p = pivots__nth(home, reader_u8(in));
    uint8_t which = reader_u8(in), splice = reader_u8(in), mask = reader_u8(in);
    uint16_t at = reader_u16(in);
    if (p == NULL || pivots__n_past == 0)
        return;
    struct cell c =
        pivots__past[which % (pivots__n_past < PIVOTS__PAST ? pivots__n_past : PIVOTS__PAST)];
    if (splice != 0xff)
        c.c.splice = splice;
    if (c.c.len > 0)
        c.payload[at % c.c.len] ^= mask;
    if (at & 0x8000 && c.c.len > 0)
        c.c.len = at % c.c.len;
    c.c.payload = c.payload;
    pivots__hand(p, &c.c);
}
