/* The metrics port's parser: nothing lenient gets through. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/http.h"

/* From a heap copy of exact size: one byte over is seen. */
static int parse(const char *text, size_t len, struct http_request *out, size_t *used)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, text, len);
    int status = http_parse(out, copy, len, used);
    free(copy);
    return status;
}

static const char good[] = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9410\r\nAccept: */*\r\n\r\n";

Test(http, takes_a_plain_request)
{
    struct http_request rq;
    size_t used = 0;
    cr_assert_eq(parse(good, strlen(good), &rq, &used), 200);
    cr_expect(rq.is_get);
    cr_expect_str_eq(rq.target, "/metrics");
    cr_expect_eq(used, strlen(good));
}

Test(http, waits_for_the_end_of_every_prefix)
{
    struct http_request rq = { .target = "untouched" };
    size_t used = 7;
    for (size_t n = 0; n < strlen(good); n++)
        cr_expect_eq(parse(good, n, &rq, &used), 0, "length %zu", n);
    cr_expect_str_eq(rq.target, "untouched");
    cr_expect_eq(used, 7u);
}

static const struct {
    int status;
    const char *text;
} refused[] = {
    { 400, "GET  /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" },
    { 400, "GET /metrics HTTP/1.1 \r\nHost: localhost\r\n\r\n" },
    { 400, "GET metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" },
    { 400, "GET /metrics\r\nHost: localhost\r\n\r\n" },
    { 505, "GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n" },
    { 400, "GET /metrics HTTP/1.1\r\n\r\n" },
    { 400, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n" },
    { 400, "GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n" },
    { 400, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n" },
    { 400, "GET /metrics HTTP/1.1\nHost: localhost\r\n\r\n" },
    { 400, "GET /m\tx HTTP/1.1\r\nHost: localhost\r\n\r\n" },
    { 403, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n" },
    { 403, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n" },
    { 403, "GET /metrics HTTP/1.1\r\nHost: [::2]\r\n\r\n" },
    { 405, "POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" },
    { 413, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n" },
    { 413, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: +0\r\n\r\n" },
    { 501, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" },
};

Test(http, refuses_what_two_parsers_could_read_in_two_ways)
{
    struct http_request rq;
    size_t used = 0;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        cr_expect_eq(parse(refused[i].text, strlen(refused[i].text), &rq, &used), refused[i].status,
                     "%s", refused[i].text);
}

Test(http, bounds_target_fields_and_head)
{
    char text[HTTP_HEAD_MAX + 64];
    struct http_request rq;
    size_t used = 0;
    int n = snprintf(text, sizeof text, "GET /%0200d HTTP/1.1\r\nHost: localhost\r\n\r\n", 0);
    cr_expect_eq(parse(text, (size_t)n, &rq, &used), 414);
    size_t at = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: localhost\r\n");
    for (unsigned i = 0; i <= HTTP_FIELDS_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "X: y\r\n");
    at += (size_t)snprintf(text + at, sizeof text - at, "\r\n");
    cr_expect_eq(parse(text, at, &rq, &used), 431);
    memset(text, 'A', sizeof text);
    cr_expect_eq(parse(text, sizeof text, &rq, &used), 431);
}

Test(http, every_status_that_we_answer_with_has_its_phrase)
{
    static const unsigned all[] = {
        200, 400, 403, 404, 405, 413, 414, 431, 501, 502, 503, 504, 505
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        cr_expect_str_neq(http_phrase(all[i]), "Error", "%u", all[i]);
        for (size_t k = 0; k < i; k++)
            cr_expect_str_neq(http_phrase(all[i]), http_phrase(all[k]), "%u, %u", all[i], all[k]);
    }
    cr_expect_str_eq(http_phrase(504), "Gateway Timeout");
    cr_expect_str_eq(http_phrase(299), "Error");
}
