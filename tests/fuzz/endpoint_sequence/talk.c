/* Who talks through a visit and a service: users with streams, the service's owner
 * with a visitor's streams. Every byte is known to both ends: what arrives is a prefix of what was
 * sent, to one reader, and an orderly end comes after all of it. What users do inside their
 * callbacks is drawn by the input as well. */
#include <stdlib.h>
#include <string.h>

#include "onion/address.h"
#include "tests/fuzz/endpoint_sequence/world.h"

enum { GUESTS = 64, NAME = 2, PIECE = 4096, SENT_MAX = 1 << 20 };

/* One stream, seen from both ends. Its first two bytes say which. */
struct guest {
    struct onion_stream *s;
    uint8_t mood;
    bool is_over, has_ended, end_heard;
    size_t sent, got;
    uint64_t host_sent;
    bool was_served, host_ended;
};

/* A visitor's stream, at the service. */
struct host {
    struct onion_stream *s;
    struct guest *of; /* NULL: its name isn't here yet */
    uint8_t name[NAME], mood;
    size_t got, unread;
    bool end_heard;
};

static struct guest guests[GUESTS];
static struct host hosts[GUESTS];
static unsigned n_guests;
static uint8_t seed[32], address[32], service_mood;
static struct onion_service *service;
static struct onion_service_config config;
static struct onion_port ports[3];
static uint8_t clients[1][32];

static void guest_act(struct guest *g, uint8_t what);
static void host_act(struct host *h, uint8_t what);
static void dial(uint16_t port, uint8_t tag, uint8_t mood);

/* ---- bytes ------------------------------------------------------------------------------------
 */

static uint8_t byte_at(size_t name, bool from_host, size_t at)
{
    if (!from_host && at < NAME)
        return (uint8_t)(at == 0 ? name : ~name);
    return (uint8_t)(name * 31 + from_host * 7 + at * 13 + (at >> 8));
}

static void fill(uint8_t piece[static PIECE], size_t name, bool from_host, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        piece[i] = byte_at(name, from_host, at + i);
}

static size_t name_of(const struct guest *g)
{
    return (size_t)(g - guests);
}

/* ---- a user's stream --------------------------------------------------------------------------
 */

static void guest_write(struct guest *g, size_t n)
{
    uint8_t piece[PIECE];
    n = n < PIECE ? n : PIECE;
    if (g->s == NULL || g->has_ended || g->sent + n > SENT_MAX)
        return;
    fill(piece, name_of(g), false, g->sent, n);
    g->sent += onion_stream_write(g->s, piece, n);
}

static void guest_act(struct guest *g, uint8_t what)
{
    if (g->s == NULL)
        return;
    switch (what & 7) {
    case 0:
    case 1:
        guest_write(g, (size_t)(what >> 3) * 40 + 2);
        break;
    case 2:
        guest_write(g, PIECE);
        break;
    case 3:
        onion_stream_end(g->s);
        g->has_ended = true;
        break;
    case 4:
        onion_stream_reset(g->s);
        g->s = NULL;
        g->is_over = true;
        break;
    case 5:
        if (n_guests > 1)
            guest_act(&guests[(name_of(g) + 1) % n_guests], what >> 3 & 6);
        break;
    case 6:
        dial(80, what >> 6, what >> 3);
        break;
    default:
        break;
    }
}

static void guest_opened(void *arg)
{
    struct guest *g = arg;
    fuzz_must(g->s != NULL && !g->is_over);
    guest_act(g, g->mood);
}

static void guest_data(void *arg, const uint8_t *data, size_t len)
{
    struct guest *g = arg;
    fuzz_must(g->s != NULL && !g->end_heard && g->got + len <= g->host_sent);
    for (size_t i = 0; i < len; i++)
        fuzz_must(data[i] == byte_at(name_of(g), true, g->got + i));
    g->got += len;
    if (len == 0) {
        g->end_heard = true;
        fuzz_must(g->host_ended && g->got == g->host_sent);
    }
    onion_stream_consumed(g->s, len);
    if (g->mood & 0x80)
        guest_act(g, g->mood >> 2);
}

static void guest_writable(void *arg)
{
    struct guest *g = arg;
    fuzz_must(g->s != NULL);
    guest_act(g, g->mood & 2);
}

static void guest_closed(void *arg, enum onion_fail fail)
{
    struct guest *g = arg;
    fuzz_must(g->s != NULL && !g->is_over && fail < ONION_FAILS);
    if (fail == ONION_FAIL_NONE)
        fuzz_must(g->end_heard && g->has_ended);
    g->s = NULL;
    g->is_over = true;
    if (g->mood & 0x40 && n_guests > 0)
        guest_act(&guests[g->mood % n_guests], 4);
    else if (g->mood & 0x20)
        dial(80, 0, 0);
}

static const struct onion_stream_events guest_events = {
    .opened = guest_opened, .data = guest_data, .writable = guest_writable, .closed = guest_closed
};

void talk_target(struct onion_target *to, uint16_t port, uint8_t tag)
{
    *to = (struct onion_target){ .port = port, .wait_for_answer = tag & 2 };
    memcpy(to->address, address, sizeof to->address);
    to->isolation.tag[0] = tag & 1;
    to->address[0] ^= tag & 4 ? 1 : 0; /* nobody's, or no address at all */
}

static void dial(uint16_t port, uint8_t tag, uint8_t mood)
{
    struct onion *o = world_node[WORLD_USER].onion;
    struct onion_target to;
    if (n_guests == GUESTS || o == NULL)
        return;
    struct guest *g = &guests[n_guests++];
    g->mood = mood;
    talk_target(&to, port, tag);
    g->s = onion_dial(o, &to, &guest_events, g, NULL);
    g->is_over = g->s == NULL;
    if (mood & 0x10)
        guest_write(g, mood * 8u + 2);
}

uint16_t talk_port(uint8_t how)
{
    static const uint16_t some[] = { 80, 80, 53, 81 };
    return some[how & 3];
}

void talk_dial(struct onion *o, struct reader *in)
{
    uint8_t how = reader_u8(in), mood = reader_u8(in);
    (void)o;
    dial(talk_port(how), how >> 2 & 7, mood);
}

void talk_guest(struct reader *in)
{
    uint8_t which = reader_u8(in), what = reader_u8(in);
    if (n_guests > 0)
        guest_act(&guests[which % n_guests], what);
}

/* ---- at the service ---------------------------------------------------------------------------
 */

static void host_write(struct host *h, size_t n)
{
    uint8_t piece[PIECE];
    n = n < PIECE ? n : PIECE;
    if (h->s == NULL || h->of == NULL || h->of->host_ended || h->of->host_sent + n > SENT_MAX)
        return;
    fill(piece, name_of(h->of), true, h->of->host_sent, n);
    /* It may be read before we hear how much went. */
    size_t before = h->of->host_sent;
    h->of->host_sent += n;
    h->of->host_sent = before + onion_stream_write(h->s, piece, n);
}

static void close_service(void)
{
    struct onion_service *s = service;
    service = NULL;
    onion_service_close(s);
}

static void host_act(struct host *h, uint8_t what)
{
    if (h->s == NULL)
        return;
    switch (what & 7) {
    case 0:
        onion_stream_accept(h->s);
        break;
    case 1:
        host_write(h, (size_t)(what >> 3) * 40 + 1);
        break;
    case 2:
        host_write(h, PIECE);
        break;
    case 3:
        if (h->of != NULL) {
            h->of->host_ended = true;
            onion_stream_end(h->s);
        }
        break;
    case 4:
        onion_stream_reset(h->s);
        h->s = NULL;
        break;
    case 5:
        onion_stream_refuse(h->s, (enum onion_open_status)(what >> 3 & 7));
        h->s = NULL;
        break;
    case 6:
        onion_stream_consumed(h->s, h->unread);
        h->unread = 0;
        break;
    default:
        if (what >= 0xf0)
            close_service();
        break;
    }
}

/* No stream is delivered twice, whatever was sent again. */
static void host_named(struct host *h)
{
    size_t name = h->name[0];
    fuzz_must(name < n_guests && h->name[0] + h->name[1] == 0xff);
    h->of = &guests[name];
    fuzz_must(!h->of->was_served);
    h->of->was_served = true;
}

static void host_data(void *arg, const uint8_t *data, size_t len)
{
    struct host *h = arg;
    fuzz_must(h->s != NULL && !h->end_heard);
    for (size_t i = 0; i < len; i++, h->got++) {
        if (h->got < NAME)
            h->name[h->got] = data[i];
        if (h->got == NAME - 1)
            host_named(h);
        if (h->got >= NAME)
            fuzz_must(data[i] == byte_at(name_of(h->of), false, h->got));
    }
    fuzz_must(h->of == NULL || h->got <= h->of->sent);
    h->unread += len;
    if (len == 0) {
        h->end_heard = true;
        fuzz_must(h->of == NULL || (h->got == h->of->sent && h->of->has_ended));
    }
    if ((h->mood & 0x80) == 0)
        host_act(h, 6);
    host_act(h, h->mood >> 2);
}

static void host_closed(void *arg, enum onion_fail fail)
{
    struct host *h = arg;
    fuzz_must(h->s != NULL && fail < ONION_FAILS);
    if (fail == ONION_FAIL_NONE)
        fuzz_must(h->end_heard && (h->of == NULL || h->of->host_ended));
    h->s = NULL;
    if (h->mood == 0xff && service != NULL)
        close_service();
}

static void came(void *arg, struct onion_stream *s, uint16_t port)
{
    static const struct onion_stream_events ev = { .data = host_data, .closed = host_closed };
    (void)arg;
    (void)port;
    for (unsigned i = 0; i < GUESTS; i++) {
        struct host *h = &hosts[i];
        if (h->s != NULL)
            continue;
        *h = (struct host){ .s = s, .mood = service_mood };
        onion_stream_attach(s, &ev, h);
        if ((service_mood & 3) == 0)
            onion_stream_accept(s);
        else if ((service_mood & 3) == 1)
            host_act(h, service_mood >> 2);
        return;
    }
    onion_stream_refuse(s, ONION_OPEN_BUSY);
}

void talk_host(struct reader *in)
{
    uint8_t which = reader_u8(in), what = reader_u8(in);
    for (unsigned i = 0, n = 0; i < GUESTS; i++)
        if (hosts[i].s != NULL && n++ == which % 8u) {
            host_act(&hosts[i], what);
            return;
        }
}

bool talk_is_hasty(void)
{
    return service_mood == 0xaa;
}

/* ---- the service ------------------------------------------------------------------------------
 */

const struct onion_service *talk_the_service(void)
{
    return service;
}

static void changed(void *arg, const struct onion_service_info *now)
{
    (void)arg;
    fuzz_must(now->state <= ONION_SERVICE_READY);
}

void talk_serve(struct onion *o)
{
    static const struct onion_service_events ev = { .stream = came,
                                                    .flow = flows_came,
                                                    .changed = changed };
    if (service == NULL)
        service = onion_serve(o, &config, &ev, NULL, NULL);
}

void talk_service(struct onion *o, struct reader *in)
{
    uint8_t how = reader_u8(in);
    if (how & 1)
        service_mood = reader_u8(in);
    else if (service != NULL)
        close_service();
    else
        talk_serve(o);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

void talk_begin(uint8_t how)
{
    memset(guests, 0, sizeof guests);
    memset(hosts, 0, sizeof hosts);
    memset(seed, 7, sizeof seed);
    memset(clients, 9, sizeof clients);
    if (address[0] == 0 && address[1] == 0)
        onion_address_of_seed(address, seed);
    flows_begin();
    service = NULL;
    n_guests = 0;
    service_mood = 0;
    ports[0] = (struct onion_port){ 53, ONION_PORT_BOTH };
    ports[1] = (struct onion_port){ 80, ONION_PORT_STREAM };
    config = (struct onion_service_config){ .seed = seed,
                                            .ports = ports,
                                            .n_ports = how & 1 ? 0 : 2,
                                            .clients = (const uint8_t(*)[32])clients,
                                            .n_clients = how & 2 ? 1 : 0,
                                            .hops = how & 4 ? 4 : 0,
                                            .pivots = how >> 3 & 3 };
}

void talk_leave(void)
{
    for (unsigned i = 0; i < n_guests; i++)
        guest_act(&guests[i], 4);
    flows_leave();
}

void talk_gone(unsigned node)
{
    flows_gone(node);
    for (unsigned i = 0; i < GUESTS; i++)
        fuzz_must((node == WORLD_USER ? guests[i].s : hosts[i].s) == NULL);
    if (node == WORLD_SERVICE)
        service = NULL;
}
