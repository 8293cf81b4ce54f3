/* A hidden endpoint from end to end: a service on one node, a visitor on another, relays between.
 */
#include <stdlib.h>

#include "onion/address.h"
#include "onion/blind.h"
#include "town.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9, BYTES_MAX = 1 << 22 };

static struct towns t;

/* ---- a service that echoes ----------------------------------------------------------------------
 */

struct echo {
    struct onion_service *s;
    struct onion_stream *streams[64];
    unsigned n, closed;
    enum onion_fail last;
    enum onion_open_status refuse;
    bool is_quiet; /* takes and says nothing */
    size_t got;
};

static struct echo echo;

static void echo_data(void *arg, const uint8_t *data, size_t len)
{
    struct onion_stream **s = arg;
    echo.got += len;
    if (len == 0)
        onion_stream_end(*s);
    else if (!echo.is_quiet)
        cr_assert_eq(onion_stream_write(*s, data, len), len);
    onion_stream_consumed(*s, len);
}

static void echo_closed(void *arg, enum onion_fail why)
{
    struct onion_stream **s = arg;
    *s = NULL;
    echo.closed++;
    echo.last = why;
}

static void echo_stream(void *arg, struct onion_stream *s, uint16_t port)
{
    static const struct onion_stream_events ev = { .data = echo_data, .closed = echo_closed };
    (void)arg;
    (void)port;
    if (echo.refuse != ONION_OPEN_OK) {
        onion_stream_refuse(s, echo.refuse);
        return;
    }
    cr_assert_lt(echo.n, 64u);
    echo.streams[echo.n] = s;
    onion_stream_attach(s, &ev, &echo.streams[echo.n++]);
    onion_stream_accept(s);
}

static void serve(void *arg)
{
    static const struct onion_service_events ev = { .stream = echo_stream };
    const struct onion_port port = { 80, ONION_PORT_STREAM };
    const struct onion_service_config c = { .seed = t.seed, .ports = &port, .n_ports = 1 };
    struct cyx_err err = { 0 };
    (void)arg;
    echo.s = onion_serve(t.at[SERVICE].onion, &c, &ev, NULL, &err);
    cr_assert_not_null(echo.s, "%s", err.msg);
}

static bool is_served(void *arg)
{
    struct onion_service_info info;
    (void)arg;
    onion_service_info(echo.s, &info);
    return info.state == ONION_SERVICE_READY;
}

/* ---- a visitor
 * ------------------------------------------------------------------------------------ */

struct visitor {
    struct onion_stream *s;
    unsigned opened, closed;
    enum onion_fail why;
    size_t to_send, sent, got;
    uint64_t opened_ns, first_ns, begun_ns;
    bool is_ended, wants_end;
    uint8_t *bytes;
};

static struct visitor v;

static struct env *user_env(void)
{
    return mesh_env(t.few.node[USER].mesh);
}

static void push(void)
{
    while (v.sent < v.to_send) {
        size_t n = onion_stream_write(v.s, v.bytes + v.sent, v.to_send - v.sent);
        v.sent += n;
        if (v.sent < v.to_send)
            return;
    }
    if (v.wants_end && v.sent == v.to_send)
        onion_stream_end(v.s);
}

static void opened(void *arg)
{
    (void)arg;
    v.opened++;
    v.opened_ns = env_now_ns(user_env());
    push();
}

static void data(void *arg, const uint8_t *bytes, size_t len)
{
    (void)arg;
    if (v.got == 0)
        v.first_ns = env_now_ns(user_env());
    if (len == 0)
        v.is_ended = true;
    else
        cr_assert_arr_eq(bytes, v.bytes + v.got, len);
    v.got += len;
    onion_stream_consumed(v.s, len);
}

static void writable(void *arg)
{
    (void)arg;
    push();
}

static void closed(void *arg, enum onion_fail why)
{
    (void)arg;
    v.closed++;
    v.why = why;
    v.s = NULL;
}

static void dial(void *arg)
{
    static const struct onion_stream_events ev = {
        .opened = opened, .data = data, .writable = writable, .closed = closed
    };
    const uint16_t *port = arg;
    struct onion_target to = { .port = *port };
    struct cyx_err err = { 0 };
    onion_address_of_seed(to.address, t.seed);
    v.begun_ns = env_now_ns(user_env());
    v.s = onion_dial(t.at[USER].onion, &to, &ev, NULL, &err);
    cr_assert_not_null(v.s, "%s", err.msg);
}

static void visit(uint16_t port, size_t bytes)
{
    v.to_send = bytes;
    v.wants_end = true;
    for (size_t i = 0; i < bytes; i++)
        v.bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    few_in(&t.few.node[USER], dial, &port);
}

static bool is_over(void *arg)
{
    (void)arg;
    return v.closed > 0;
}

/* ---- */

static void start(void)
{
    memset(&v, 0, sizeof v);
    memset(&echo, 0, sizeof echo);
    v.bytes = malloc(BYTES_MAX);
    towns_init(&t, RELAYS, 2, 1, NULL);
    few_in(&t.few.node[SERVICE], serve, NULL);
    struct onion_service_info info;
    bool is_ready = towns_until(&t, 20000, is_served, NULL);
    onion_service_info(echo.s, &info);
    cr_assert(is_ready, "state %d, %u pivots: %s", info.state, info.pivots,
              info.trouble != NULL ? info.trouble : "");
}

static void end(void)
{
    towns_fini(&t);
    free(v.bytes);
}

TestSuite(onion_endpoint, .init = start, .fini = end);

Test(onion_endpoint, a_visitor_reaches_it_and_every_byte_comes_back)
{
    visit(80, 100000);
    cr_assert(towns_until(&t, 20000, is_over, NULL), "got %zu of %zu", v.got, v.to_send);
    cr_expect_eq(v.why, ONION_FAIL_NONE, "%s", onion_fail_text(v.why));
    cr_expect_eq(v.got, v.to_send);
    cr_expect(v.is_ended);
}

Test(onion_endpoint, a_port_that_is_not_listed_is_refused_without_a_path)
{
    visit(81, 10);
    cr_assert(towns_until(&t, 5000, is_over, NULL));
    cr_expect_eq(v.why, ONION_FAIL_NO_PORT);
    cr_expect_eq(v.opened, 0u);
}

Test(onion_endpoint, a_backend_that_refuses_is_told)
{
    echo.refuse = ONION_OPEN_REFUSED;
    visit(80, 10);
    cr_assert(towns_until(&t, 5000, is_over, NULL));
    cr_expect_eq(v.why, ONION_FAIL_REFUSED);
}

/* ---- link traversals
 * ------------------------------------------------------------------------------ */

enum { ONE_WAY_MS = 10 }; /* few_init's links */

static bool has_bytes(void *arg)
{
    (void)arg;
    return v.got > 0;
}

static double traversals(void)
{
    return (double)(v.first_ns - v.begun_ns) / 1e6 / ONE_WAY_MS;
}

/* protocol.md, section 11: lookup 10, request in the build's train 6, answer 6; and what links that
 * aren't up add. */
Test(onion_endpoint, the_request_travels_with_the_build)
{
    visit(80, 500);
    cr_assert(towns_until(&t, 20000, has_bytes, NULL));
    cr_log_info("cold: %.1f traversals", traversals());
    cr_expect_leq(traversals(), 27.0, "%.1f traversals", traversals());
    cr_assert(towns_until(&t, 20000, is_over, NULL));
    memset(&v, 0, offsetof(struct visitor, bytes));
    visit(80, 500);
    cr_assert(towns_until(&t, 20000, has_bytes, NULL));
    cr_log_info("warm: %.1f traversals", traversals());
    cr_expect_leq(traversals(), 13.0, "%.1f traversals", traversals());
}
