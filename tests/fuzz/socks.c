/* SOCKS5: one conversation, cut into pieces by its own first byte, must end as it does in one
 * piece; and the head of datagrams, which must build to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "node/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct ran {
    enum socks_step step;
    size_t used;
    uint8_t out[4096];
    size_t out_len;
    struct socks s;
};

static void run(struct ran *r, const uint8_t *data, size_t len, size_t piece)
{
    struct writer w = writer_on(r->out, sizeof r->out);
    memset(r, 0, sizeof *r);
    socks_init(&r->s);
    w = writer_on(r->out, sizeof r->out);
    r->step = SOCKS_MORE;
    while (r->step == SOCKS_MORE && r->used < len) {
        size_t used = 0, n = len - r->used < piece ? len - r->used : piece;
        uint8_t *copy = malloc(n);
        memcpy(copy, data + r->used, n);
        uint8_t answer[SOCKS_ANSWER_MAX];
        struct writer one = writer_on(answer, sizeof answer);
        r->step = socks_feed(&r->s, copy, n, &used, &one);
        free(copy);
        if (!writer_ok(&one) || used > n || (r->step == SOCKS_MORE && used != n))
            abort();
        writer_copy(&w, answer, writer_len(&one));
        r->used += used;
    }
    r->out_len = writer_len(&w);
}

static void check_request(const struct socks *s)
{
    const struct socks_request *q = &s->request;
    if (q->command != SOCKS_CONNECT && q->command != SOCKS_ASSOCIATE)
        abort();
    if (q->host[q->host_len] != '\0' || s->state != SOCKS_DONE)
        abort();
}

static void check_datagram(const uint8_t *data, size_t len)
{
    struct socks_datagram d;
    uint8_t head[SOCKS_DATAGRAM_HEAD_MAX];
    struct writer w = writer_on(head, sizeof head);
    if (socks_datagram_parse(&d, data, len) != DROP_NONE)
        return;
    socks_datagram_head(&w, d.host, d.host_len, d.port);
    if (!writer_ok(&w) || writer_len(&w) + d.len != len ||
        memcmp(head, data, writer_len(&w)) != 0 || (d.len > 0 && d.data != data + writer_len(&w)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct ran whole, pieces;
    if (len < 1)
        return 0;
    size_t piece = 1 + data[0] % 32;
    uint8_t *copy = malloc(len);
    memcpy(copy, data + 1, len - 1);
    run(&whole, copy, len - 1, SIZE_MAX);
    run(&pieces, copy, len - 1, piece);
    /* Behind a refusal everything is thrown away, in larger or smaller pieces. */
    if (whole.step != pieces.step || whole.out_len != pieces.out_len ||
        memcmp(whole.out, pieces.out, whole.out_len) != 0 ||
        (whole.step == SOCKS_READY && whole.used != pieces.used))
        abort();
    if (whole.step == SOCKS_READY) {
        check_request(&whole.s);
        if (memcmp(&whole.s.request, &pieces.s.request, sizeof whole.s.request) != 0)
            abort();
    }
    check_datagram(copy, len - 1);
    free(copy);
    return 0;
}
