/* HTTP CONNECT as bytes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/socks.h"
#include "node/tunnel.h"

static int parse(struct tunnel_request *q, const char *text, size_t len, size_t *used)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, text, len);
    int status = tunnel_parse(q, copy, len, used);
    free(copy);
    return status;
}

static int status_of(const char *text)
{
    struct tunnel_request q;
    size_t used = 0;
    return parse(&q, text, strlen(text), &used);
}

static const char good[] = "CONNECT a.cyx:443 HTTP/1.1\r\nHost: a.cyx:443\r\n"
                           "Proxy-Authorization: Basic bWU6cHdk\r\n\r\n";

Test(tunnel, a_connect_is_read_with_its_host_port_and_isolation)
{
    struct tunnel_request q;
    size_t used = 0;
    struct onion_isolation want = socks_isolation("me", 2, "pwd", 3);
    cr_assert_eq(parse(&q, good, sizeof good - 1, &used), 200);
    cr_expect_eq(used, sizeof good - 1);
    cr_expect_str_eq(q.host, "a.cyx");
    cr_expect_eq(q.host_len, 5u);
    cr_expect_eq(q.port, 443);
    cr_expect_arr_eq(q.isolation.tag, want.tag, 16, "the same as over SOCKS");
}

Test(tunnel, every_truncation_asks_for_more_and_leaves_output_alone)
{
    struct tunnel_request q = { .port = 99 };
    size_t used = 7;
    for (size_t len = 0; len < sizeof good - 1; len++)
        cr_expect_eq(parse(&q, good, len, &used), 0, "length %zu", len);
    cr_expect_eq(q.port, 99);
    cr_expect_eq(used, 7u);
}

Test(tunnel, bytes_behind_the_head_are_the_streams)
{
    struct tunnel_request q;
    size_t used = 0;
    static const char more[] = "CONNECT a.cyx:1 HTTP/1.0\r\n\r\n\x16\x03\x01";
    cr_assert_eq(parse(&q, more, sizeof more - 1, &used), 200);
    cr_expect_eq(used, sizeof more - 1 - 3);
}

Test(tunnel, other_methods_are_405)
{
    cr_expect_eq(status_of("GET http://a.cyx/ HTTP/1.1\r\nHost: a.cyx\r\n\r\n"), 405);
    cr_expect_eq(status_of("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), 405);
    cr_expect_eq(status_of("connect a.cyx:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    cr_expect_eq(status_of("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
}

Test(tunnel, refuses_what_is_broken)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        { "CONNECT a.cyx HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT :80 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx: HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:65536 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:000080 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:-1 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:8x HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT http://a.cyx:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT u@a.cyx:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT  a.cyx:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1 \r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:80\r\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost : a\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\nHost: a\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Bearer x\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic !\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic bWU=\r\n\r\n", 400 },
        { "CONNECT a.cyx:80 HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(status_of(cases[i].text), cases[i].status, "case %zu: %s", i, cases[i].text);
}

Test(tunnel, heads_fields_and_hosts_have_bounds)
{
    static char text[3 * TUNNEL_HEAD_MAX];
    memset(text, 'a', sizeof text - 1);
    cr_expect_eq(status_of(text), 431);
    int n = snprintf(text, sizeof text, "CONNECT ");
    memset(text + n, 'a', 256);
    snprintf(text + n + 256, 64, ":80 HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(status_of(text), 414);
    n = snprintf(text, sizeof text, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
        n += snprintf(text + n, 8, "X: y\r\n");
    snprintf(text + n, 8, "\r\n");
    cr_expect_eq(status_of(text), 431);
}

Test(tunnel, plain_addresses_are_hosts_to_be_refused_later)
{
    struct tunnel_request q;
    size_t used;
    static const char v6[] = "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: a\r\n\r\n";
    cr_expect_eq(parse(&q, v6, sizeof v6 - 1, &used), 200);
    cr_expect_str_eq(q.host, "[2001:db8::1]");
}

static size_t answer(char *out, size_t cap, unsigned status, const char *reason)
{
    uint8_t buf[TUNNEL_ANSWER_MAX];
    struct writer w = writer_on(buf, sizeof buf);
    tunnel_answer(&w, status, reason);
    cr_assert(writer_ok(&w) && writer_len(&w) < cap);
    memcpy(out, buf, writer_len(&w));
    out[writer_len(&w)] = '\0';
    return writer_len(&w);
}

Test(tunnel, answers_are_whole_and_their_length_is_right)
{
    static const unsigned all[] = { 400, 403, 405, 414, 431, 501, 502, 503, 504, 505 };
    char text[TUNNEL_ANSWER_MAX + 1], reason[2 * TUNNEL_ANSWER_MAX];
    memset(reason, 'r', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        (void)answer(text, sizeof text, all[i], reason);
        const char *body = strstr(text, "\r\n\r\n"), *len = strstr(text, "Content-Length: ");
        cr_assert(body != NULL && len != NULL);
        cr_expect_eq(strlen(body + 4), strtoul(len + 16, NULL, 10));
        cr_expect_eq(strtoul(text + 9, NULL, 10), all[i]);
    }
    (void)answer(text, sizeof text, 405, "x");
    cr_expect_not_null(strstr(text, "\r\nAllow: CONNECT\r\n"));
    (void)answer(text, sizeof text, 200, "");
    cr_expect_str_eq(text, "HTTP/1.1 200 Connection Established\r\n\r\n");
}
