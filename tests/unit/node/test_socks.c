/* SOCKS5 as bytes: every message whole, cut, and wrong. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "node/socks.h"

struct fed {
    enum socks_step step;
    size_t used;
    uint8_t out[SOCKS_ANSWER_MAX];
    size_t out_len;
};

/* From a heap copy of exactly that size. */
static struct fed feed(struct socks *s, const void *data, size_t len)
{
    struct fed f = { .used = 0 };
    struct writer w = writer_on(f.out, sizeof f.out);
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, data, len);
    f.step = socks_feed(s, copy, len, &f.used, &w);
    free(copy);
    cr_assert(writer_ok(&w));
    f.out_len = writer_len(&w);
    return f;
}

static const uint8_t plain_hello[] = { 5, 1, 0 };
static const uint8_t connect_abc[] = { 5, 1, 0, 3, 7, 'a', '.', 'b', '.', 'c', 'y', 'x', 0, 80 };

static struct socks greeted(void)
{
    struct socks s;
    socks_init(&s);
    struct fed f = feed(&s, plain_hello, sizeof plain_hello);
    cr_assert_eq(f.step, SOCKS_MORE);
    cr_assert(f.out_len == 2 && f.out[0] == 5 && f.out[1] == 0);
    return s;
}

Test(socks, a_connect_to_a_name_is_handed_on_as_it_came)
{
    struct socks s = greeted();
    struct fed f = feed(&s, connect_abc, sizeof connect_abc);
    cr_expect_eq(f.step, SOCKS_READY);
    cr_expect_eq(f.used, sizeof connect_abc);
    cr_expect_eq(f.out_len, 0u);
    cr_expect_eq(s.request.command, SOCKS_CONNECT);
    cr_expect_str_eq(s.request.host, "a.b.cyx");
    cr_expect_eq(s.request.port, 80);
    cr_expect_eq(s.request.isolation.tag[0], 0);
}

Test(socks, every_cut_of_a_whole_conversation_asks_for_more_and_every_split_gives_the_same)
{
    static const uint8_t all[] = { 5, 2, 0, 2, 1, 2,   'm', 'e', 3,   'p', 'w', 'd',
                                   5, 1, 0, 3, 5, 'a', '.', 'c', 'y', 'x', 1,   187 };
    for (size_t len = 0; len < sizeof all; len++) {
        struct socks s;
        socks_init(&s);
        struct fed f = feed(&s, all, len);
        cr_expect_eq(f.step, SOCKS_MORE, "cut at %zu", len);
        cr_expect_eq(f.used, len);
        f = feed(&s, all + len, sizeof all - len);
        cr_expect_eq(f.step, SOCKS_READY, "split at %zu", len);
        cr_expect_str_eq(s.request.host, "a.cyx");
        cr_expect_eq(s.request.port, 443);
        struct onion_isolation want = socks_isolation("me", 2, "pwd", 3);
        cr_expect_arr_eq(s.request.isolation.tag, want.tag, 16);
    }
}

Test(socks, bytes_behind_the_request_are_the_streams)
{
    struct socks s = greeted();
    uint8_t more[sizeof connect_abc + 5];
    memcpy(more, connect_abc, sizeof connect_abc);
    memcpy(more + sizeof connect_abc, "hello", 5);
    struct fed f = feed(&s, more, sizeof more);
    cr_expect_eq(f.step, SOCKS_READY);
    cr_expect_eq(f.used, sizeof connect_abc);
}

Test(socks, takes_a_login_where_one_is_offered)
{
    static const struct {
        uint8_t hello[6];
        size_t len;
        uint8_t method;
    } cases[] = { { { 5, 1, 0 }, 3, 0 },
                  { { 5, 1, 2 }, 3, 2 },
                  { { 5, 2, 0, 2 }, 4, 2 },
                  { { 5, 3, 1, 2, 0 }, 5, 2 },
                  { { 5, 2, 1, 0 }, 4, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct socks s;
        socks_init(&s);
        struct fed f = feed(&s, cases[i].hello, cases[i].len);
        cr_expect_eq(f.step, SOCKS_MORE);
        cr_expect(f.out_len == 2 && f.out[0] == 5 && f.out[1] == cases[i].method, "case %zu", i);
    }
}

Test(socks, refuses_methods_it_does_not_know)
{
    static const uint8_t gssapi[] = { 5, 1, 1 }, none[] = { 5, 0 };
    struct socks s;
    socks_init(&s);
    struct fed f = feed(&s, gssapi, sizeof gssapi);
    cr_expect(f.step == SOCKS_REFUSE && f.out_len == 2 && f.out[1] == 0xff);
    socks_init(&s);
    f = feed(&s, none, sizeof none);
    cr_expect(f.step == SOCKS_REFUSE && f.out_len == 2 && f.out[1] == 0xff);
    f = feed(&s, "more", 4);
    cr_expect(f.step == SOCKS_REFUSE && f.used == 4 && f.out_len == 0);
}

Test(socks, a_login_of_the_greatest_size_fits_and_a_wrong_version_is_refused)
{
    uint8_t all[3 + 513 + sizeof connect_abc] = { 5, 1, 2, 1, 255 };
    all[5 + 255] = 255;
    memcpy(all + 3 + 513, connect_abc, sizeof connect_abc);
    struct socks s;
    socks_init(&s);
    struct fed f = feed(&s, all, sizeof all);
    cr_expect_eq(f.step, SOCKS_READY);
    cr_expect_eq(f.out_len, 4u);
    all[3] = 5;
    socks_init(&s);
    f = feed(&s, all, sizeof all);
    cr_expect_eq(f.step, SOCKS_REFUSE);
    cr_expect(f.out_len == 4 && f.out[2] == 1 && f.out[3] != 0);
}

Test(socks, isolation_differs_by_user_and_by_password_and_by_where_one_ends)
{
    struct onion_isolation a = socks_isolation("ab", 2, "c", 1),
                           b = socks_isolation("a", 1, "bc", 2);
    struct onion_isolation c = socks_isolation("ab", 2, "d", 1),
                           d = socks_isolation("ab", 2, "c", 1);
    struct onion_isolation none = socks_isolation("", 0, "", 0), zero = { .tag = { 0 } };
    cr_expect_neq(memcmp(a.tag, b.tag, 16), 0);
    cr_expect_neq(memcmp(a.tag, c.tag, 16), 0);
    cr_expect_eq(memcmp(a.tag, d.tag, 16), 0);
    cr_expect_eq(memcmp(none.tag, zero.tag, 16), 0);
}

static uint8_t code_of(const uint8_t *request, size_t len)
{
    struct socks s = greeted();
    struct fed f = feed(&s, request, len);
    cr_expect_eq(f.step, SOCKS_REFUSE);
    cr_expect_eq(f.out_len, 10u, "a whole answer");
    cr_expect_eq(f.out[0], 5);
    cr_expect_eq(s.code, f.out[1]);
    return f.out[1];
}

Test(socks, plain_addresses_are_not_allowed)
{
    static const uint8_t v4[] = { 5, 1, 0, 1, 192, 0, 2, 1, 0, 80 };
    static const uint8_t v6[] = { 5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0,
                                  0, 0, 0, 0, 0,    0, 0,   0,    1, 0, 80 };
    cr_expect_eq(code_of(v4, sizeof v4), SOCKS_NOT_ALLOWED);
    cr_expect_eq(code_of(v6, sizeof v6), SOCKS_NOT_ALLOWED);
}

Test(socks, other_commands_address_types_and_reserved_bytes_have_their_codes)
{
    uint8_t rq[sizeof connect_abc];
    memcpy(rq, connect_abc, sizeof rq);
    static const uint8_t commands[] = { 0, 2, 4, 0xf0, 0xff };
    for (size_t i = 0; i < sizeof commands; i++) {
        rq[1] = commands[i];
        cr_expect_eq(code_of(rq, sizeof rq), SOCKS_COMMAND, "command %u", commands[i]);
    }
    rq[1] = 1;
    rq[2] = 1;
    cr_expect_eq(code_of(rq, sizeof rq), SOCKS_GENERAL);
    rq[2] = 0;
    rq[3] = 2;
    cr_expect_eq(code_of(rq, sizeof rq), SOCKS_ADDRESS);
    rq[3] = 3;
    rq[0] = 4;
    cr_expect_eq(code_of(rq, sizeof rq), SOCKS_GENERAL);
}

Test(socks, an_association_may_name_any_address_and_keeps_its_port)
{
    static const uint8_t v4[] = { 5, 3, 0, 1, 0, 0, 0, 0, 0x12, 0x34 };
    struct socks s = greeted();
    struct fed f = feed(&s, v4, sizeof v4);
    cr_expect_eq(f.step, SOCKS_READY);
    cr_expect_eq(s.request.command, SOCKS_ASSOCIATE);
    cr_expect_eq(s.request.port, 0x1234);
}

Test(socks, who_speaks_socks4_or_http_is_told_so)
{
    struct socks s;
    socks_init(&s);
    struct fed f = feed(&s, "\x04\x01\x00\x50\x01\x02\x03\x04", 8);
    cr_expect(f.step == SOCKS_REFUSE && f.out_len == 8 && f.out[0] == 0 && f.out[1] == 91);
    static const char *const http[] = { "GET / HTTP/1.1\r\n", "CONNECT a:1 HTTP/1.1\r\n", "POST" };
    for (size_t i = 0; i < 3; i++) {
        socks_init(&s);
        f = feed(&s, http[i], strlen(http[i]));
        cr_expect_eq(f.step, SOCKS_REFUSE);
        cr_expect_eq(memcmp(f.out, "HTTP/1.1 400 ", 13), 0);
        const uint8_t *body = memmem(f.out, f.out_len, "\r\n\r\n", 4);
        cr_assert_not_null(body);
        cr_expect_not_null(memmem(body, f.out_len - (size_t)(body - f.out), "SOCKS5", 6));
        cr_expect_eq(f.out_len - (size_t)(body + 4 - f.out), 48u, "as its length field says");
    }
    socks_init(&s);
    f = feed(&s, "\x16\x03\x01", 3); /* TLS */
    cr_expect(f.step == SOCKS_REFUSE && f.out_len == 0);
}

/* ---- answers --------------------------------------------------------------------------------- */

Test(socks, an_answer_has_an_address_of_its_family)
{
    uint8_t buf[64];
    struct env_addr v4 = env_addr_v4(127, 0, 0, 1, 0x1234), v6 = { .port = 1 };
    static const uint8_t want[] = { 5, 0, 0, 1, 127, 0, 0, 1, 0x12, 0x34 };
    v6.ip[15] = 1;
    struct writer w = writer_on(buf, sizeof buf);
    socks_answer(&w, SOCKS_OK, &v4);
    cr_expect(writer_len(&w) == sizeof want && memcmp(buf, want, sizeof want) == 0);
    w = writer_on(buf, sizeof buf);
    socks_answer(&w, SOCKS_OK, &v6);
    cr_expect_eq(writer_len(&w), 22u);
    cr_expect_eq(buf[3], 4);
}

Test(socks, every_failure_has_the_code_of_the_table)
{
    static const struct {
        enum onion_fail why;
        uint8_t socks;
        uint16_t status;
    } table[] = {
        { ONION_FAIL_NAME, 0x08, 400 },        { ONION_FAIL_NO_DESCRIPTOR, 0x04, 502 },
        { ONION_FAIL_UNREACHABLE, 0x04, 502 }, { ONION_FAIL_NOT_FOR_US, 0x02, 403 },
        { ONION_FAIL_NO_PORT, 0x05, 502 },     { ONION_FAIL_REFUSED, 0x05, 502 },
        { ONION_FAIL_BUSY, 0x01, 503 },        { ONION_FAIL_EFFORT, 0x01, 503 },
        { ONION_FAIL_TIMEOUT, 0x06, 504 },     { ONION_FAIL_NOT_READY, 0x03, 503 },
        { ONION_FAIL_RESET, 0x01, 502 },       { ONION_FAIL_LOST, 0x04, 502 },
        { ONION_FAIL_CLOSING, 0x03, 503 },
    };
    cr_expect_eq(sizeof table / sizeof table[0], ONION_FAILS - 1u, "one for each reason");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct door_refusal r = door_code_fail(table[i].why);
        cr_expect_eq(r.socks, table[i].socks, "reason %d", (int)table[i].why);
        cr_expect_eq(r.status, table[i].status, "reason %d", (int)table[i].why);
    }
    cr_expect_eq(door_code_name(ONION_NAME_OTHER).socks, 0x02);
    cr_expect_eq(door_code_name(ONION_NAME_OTHER).status, 403);
    for (int v = ONION_NAME_MALFORMED; v < ONION_NAME_VERDICTS; v++) {
        cr_expect_eq(door_code_name((enum onion_name_verdict)v).socks, 0x08);
        cr_expect_eq(door_code_name((enum onion_name_verdict)v).status, 400);
    }
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static enum drop parse(struct socks_datagram *out, const uint8_t *data, size_t len)
{
    static uint8_t *copy;
    free(copy);
    copy = malloc(len > 0 ? len : 1);
    memcpy(copy, data, len);
    return socks_datagram_parse(out, copy, len);
}

static const uint8_t datagram[] = { 0, 0, 0, 3, 5, 'a', '.', 'c', 'y', 'x', 0, 53, 'h', 'i' };

Test(socks, a_datagram_is_read_and_its_head_is_built_alike)
{
    struct socks_datagram d;
    uint8_t buf[64];
    cr_assert_eq(parse(&d, datagram, sizeof datagram), DROP_NONE);
    cr_expect_str_eq(d.host, "a.cyx");
    cr_expect_eq(d.port, 53);
    cr_expect(d.len == 2 && memcmp(d.data, "hi", 2) == 0);
    struct writer w = writer_on(buf, sizeof buf);
    socks_datagram_head(&w, d.host, d.host_len, d.port);
    cr_expect_eq(writer_len(&w), sizeof datagram - 2);
    cr_expect_eq(memcmp(buf, datagram, sizeof datagram - 2), 0);
}

Test(socks, refuses_every_truncation_of_a_datagrams_head)
{
    struct socks_datagram d = { .port = 99 };
    for (size_t len = 0; len < sizeof datagram - 2; len++)
        cr_expect_eq(parse(&d, datagram, len), DROP_SHORT, "length %zu", len);
    cr_expect_eq(d.port, 99);
    cr_expect_eq(parse(&d, datagram, sizeof datagram - 2), DROP_NONE, "an empty one is fine");
}

Test(socks, drops_fragments_addresses_and_reserved_bytes)
{
    struct socks_datagram d;
    uint8_t bad[sizeof datagram];
    memcpy(bad, datagram, sizeof bad);
    bad[2] = 1;
    cr_expect_eq(parse(&d, bad, sizeof bad), DROP_TYPE);
    bad[2] = 0;
    bad[3] = 1;
    cr_expect_eq(parse(&d, bad, sizeof bad), DROP_TYPE);
    bad[3] = 3;
    bad[0] = 1;
    cr_expect_eq(parse(&d, bad, sizeof bad), DROP_FIELD);
}
