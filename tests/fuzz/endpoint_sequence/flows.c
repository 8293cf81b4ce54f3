/* Who talks in datagrams, and who asks why: the same rules as for streams (talk.c), without the
 * bytes. */
#include <string.h>

#include "tests/fuzz/endpoint_sequence/world.h"

enum { FLOWS = 8 };

static struct onion_flow *flows[WORLD_NODES][FLOWS];
static struct onion_why *why;

/* ---- flows ------------------------------------------------------------------------------------
 */

static void flow_datagram(void *arg, const uint8_t *data, size_t len)
{
    struct onion_flow **f = arg;
    fuzz_must(*f != NULL && len <= ONION_DATAGRAM_MAX);
    if (len > 0 && data[0] == 'e')
        (void)onion_flow_send(*f, (const uint8_t *)"answer", 6);
    else if (len > 0 && data[0] == 'c') {
        onion_flow_close(*f);
        *f = NULL;
    }
}

static void flow_closed(void *arg, enum onion_fail fail)
{
    struct onion_flow **f = arg;
    fuzz_must(*f != NULL && fail < ONION_FAILS);
    *f = NULL;
}

static const struct onion_flow_events flow_events = { .datagram = flow_datagram,
                                                      .closed = flow_closed };

static struct onion_flow **free_flow(unsigned side)
{
    for (unsigned i = 0; i < FLOWS; i++)
        if (flows[side][i] == NULL)
            return &flows[side][i];
    return NULL;
}

void flows_came(void *arg, struct onion_flow *f, uint16_t port)
{
    struct onion_flow **place = free_flow(WORLD_SERVICE);
    (void)arg;
    (void)port;
    if (place == NULL) {
        onion_flow_close(f);
        return;
    }
    *place = f;
    onion_flow_attach(f, &flow_events, place);
}

void flows_event(struct onion *o, struct reader *in)
{
    static const uint8_t words[3][8] = { "echo", "close", "quiet" };
    uint8_t how = reader_u8(in), tag = reader_u8(in);
    unsigned side = o == world_node[WORLD_USER].onion ? WORLD_USER : WORLD_SERVICE;
    struct onion_flow **place = free_flow(side);
    struct onion_target to;
    if ((how & 3) == 0 && side == WORLD_USER && place != NULL) {
        talk_target(&to, talk_port(how >> 2), tag & 5);
        *place = onion_flow_open(o, &to, &flow_events, place, NULL);
        return;
    }
    place = &flows[side][how >> 4 & (FLOWS - 1)];
    if (*place == NULL)
        return;
    if ((how & 3) != 3) {
        (void)onion_flow_send(*place, words[tag % 3], tag % 3 == 0 ? 4 : 5);
        return;
    }
    onion_flow_close(*place);
    *place = NULL;
}

/* ---- why --------------------------------------------------------------------------------------
 */

static void why_step(void *arg, const struct onion_step *s)
{
    (void)arg;
    fuzz_must(s->stage < ONION_STAGES && s->fail < ONION_FAILS);
    if (talk_is_hasty() && why != NULL) {
        onion_why_cancel(why);
        why = NULL;
    }
}

static void why_done(void *arg, enum onion_fail fail)
{
    (void)arg;
    fuzz_must(why != NULL && fail < ONION_FAILS);
    why = NULL;
}

void flows_why(struct onion *o, struct reader *in)
{
    uint8_t how = reader_u8(in);
    struct onion_target to;
    if (why != NULL) {
        onion_why_cancel(why);
        why = NULL;
        return;
    }
    talk_target(&to, talk_port(how), 0);
    if (o == world_node[WORLD_USER].onion)
        why = onion_why(o, &to, why_step, why_done, NULL, NULL);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

void flows_begin(void)
{
    memset(flows, 0, sizeof flows);
    why = NULL;
}

void flows_leave(void)
{
    for (unsigned i = 0; i < FLOWS; i++) {
        onion_flow_close(flows[WORLD_USER][i]);
        flows[WORLD_USER][i] = NULL;
    }
    onion_why_cancel(why);
    why = NULL;
}

void flows_gone(unsigned node)
{
    if (node == WORLD_USER)
        fuzz_must(why == NULL);
    for (unsigned i = 0; i < FLOWS; i++)
        fuzz_must(flows[node][i] == NULL);
}
